"""How the directory's page looks, and its few lines of script (SPEC 8). Pure.

Both stand in the page itself, and its Content-Security-Policy names their hashes: nothing else that gets into
the page is run or styles it. Without the script there are no buttons, and nothing else is missing.
"""

from __future__ import annotations

import base64
import hashlib
from types import MappingProxyType
from typing import Final

LIGHT: Final = MappingProxyType(
    {
        "ground": "#f6f6f3",
        "card": "#ffffff",
        "text": "#1f2530",
        "quiet": "#59616e",
        "line": "#e0e1dd",
        "accent": "#1f6b5c",
        "accent-soft": "#dcece7",
        "late": "#8a5200",
        "late-soft": "#f7e9d2",
        "bad": "#a02c26",
        "bad-soft": "#f9e1de",
    }
)
DARK: Final = MappingProxyType(
    {
        "ground": "#14171b",
        "card": "#1c2127",
        "text": "#e7e9ec",
        "quiet": "#a4acb8",
        "line": "#303740",
        "accent": "#74c7b2",
        "accent-soft": "#203a35",
        "late": "#e3ad5b",
        "late-soft": "#3b2f1a",
        "bad": "#f2958c",
        "bad-soft": "#44241f",
    }
)


def _colours(names: MappingProxyType[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in names.items())


STYLE: Final = (
    f"""
:root{{color-scheme:light dark;{_colours(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}
"""
    + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--text);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",
Roboto,"Noto Sans","Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main,header,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
header{padding-top:2.25rem}
h1,h2,h3,p,dl,dd,ul,figure{margin:0}
p,dd{overflow-wrap:anywhere}
h1{font-size:1.85rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.2rem;line-height:1.3;font-weight:650;letter-spacing:-.005em}
h3{font-size:.9rem;font-weight:600;color:var(--quiet)}
section{margin-top:2.75rem;scroll-margin-top:1rem}
.kicker{color:var(--accent);font-weight:600;font-size:.9rem;margin-bottom:.15rem}
.lead{max-width:46rem;margin-top:.6rem}
.quiet,.about{color:var(--quiet)}
.about{max-width:46rem;margin:.3rem 0 1rem}
nav ul{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;padding:0;margin-top:1rem;list-style:none}
a{color:var(--accent);text-underline-offset:.2em;text-decoration-thickness:1px}
a:focus-visible,button:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
.warning{background:var(--late-soft);color:var(--late);border-radius:8px;padding:.7rem 1rem;margin-top:1rem;
max-width:46rem;font-weight:550}
.days{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));margin-top:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.1rem 1.2rem}
.day{display:flex;flex-direction:column}
.day .note{color:var(--quiet);font-size:.875rem;line-height:1.45;margin-bottom:1rem}
.number{font-size:1.75rem;line-height:1.25;font-weight:650;letter-spacing:-.015em}
.number small{font-size:.95rem;font-weight:500;letter-spacing:0;color:var(--quiet)}
.plots{margin-top:auto}
.plot svg{display:block;width:100%;height:5.5rem}
.plot.low svg{height:2.25rem}
.scale,.axis{display:flex;justify-content:space-between;font-size:.75rem;color:var(--quiet);line-height:1.5}
.axis{margin-top:.3rem}
.floor{stroke:var(--line);fill:none;vector-effect:non-scaling-stroke}
.area{fill:var(--accent-soft)}
.line{fill:none;stroke:var(--accent);stroke-width:1.75}
rect.ok{fill:var(--accent)}rect.late{fill:var(--late)}rect.none{fill:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
.sheet{padding:0;overflow:hidden}
th,td{text-align:left;vertical-align:top;font-weight:400;padding:.8rem .9rem}
thead th{font-size:.8rem;font-weight:600;color:var(--quiet);padding-top:.75rem;padding-bottom:.6rem;
white-space:nowrap}
tbody tr{border-top:1px solid var(--line)}
th:first-child,td:first-child{padding-left:1.2rem}
th:last-child,td:last-child{padding-right:1.2rem}
.name{font-weight:650;font-size:1rem;overflow-wrap:anywhere}
.address{display:block;color:var(--quiet);overflow-wrap:anywhere}
.missed{display:block;color:var(--late);font-size:.8rem;line-height:1.45}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.ident{display:flex;align-items:center;flex-wrap:wrap;gap:.3rem .6rem;margin-top:.3rem}
.id{display:block;max-width:32ch;font-size:.75rem;line-height:1.45;color:var(--quiet);overflow-wrap:anywhere;
-webkit-user-select:all;user-select:all}
button{font:inherit;font-size:.75rem;line-height:1.4;color:var(--accent);background:none;cursor:pointer;
border:1px solid var(--line);border-radius:6px;padding:.25rem .6rem;min-width:4.2rem}
button:hover{background:var(--accent-soft);border-color:var(--accent)}
.flags{display:flex;min-width:7rem;flex-wrap:wrap;gap:.3rem;padding:0;list-style:none}
.flags li{background:var(--accent-soft);color:var(--accent);border-radius:99px;padding:.05rem .6rem;
font-size:.8rem;font-weight:550}
.state::before{content:"";display:inline-block;width:.55em;height:.55em;border-radius:50%;margin-right:.45em;
background:var(--accent)}
.state.no{color:var(--late)}
.state.no::before{background:none;border:2px solid var(--late);width:.35em;height:.35em}
.when,.left{display:block;color:var(--quiet);font-size:.8rem}
.nowrap,.when,.state,time{white-space:nowrap}
tbody th{width:24rem}
.software{min-width:9rem;overflow-wrap:anywhere}
.why{max-width:34rem}
.empty{padding:1.1rem 1.2rem;color:var(--quiet)}
.words{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem 2.5rem;
margin-top:1rem}
.words dt{font-weight:650}
.words dd{color:var(--quiet);max-width:34rem}
pre{margin:0;font-size:.8rem;line-height:1.6;white-space:pre-wrap;overflow-wrap:anywhere}
.aside{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
footer{margin-top:3rem;padding-bottom:2.5rem;color:var(--quiet);font-size:.875rem}
@media (max-width:67.99rem){
header{padding-top:1.5rem}
h1{font-size:1.6rem}
.sheet{background:none;border:0;border-radius:0;overflow:visible}
.sheet table{display:block}
.sheet tbody{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}
.sheet thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.sheet tbody tr{display:block;background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:.9rem 1rem}
.sheet tbody th,.sheet tbody td{display:grid;padding:.2rem 0;grid-template-columns:7.25rem minmax(0,1fr)}
.sheet tbody th{display:block;width:auto;padding-bottom:.7rem;margin-bottom:.5rem;
border-bottom:1px solid var(--line)}
.sheet td::before{content:attr(data-label);color:var(--quiet);font-size:.85rem}
.sheet .value{min-width:0}
.empty{padding:.2rem 0}
.ident{justify-content:space-between;flex-wrap:nowrap;gap:.4rem}
.id{font-size:.72rem}
button{min-width:3.7rem;padding:.3rem .4rem}
}
@media print{button,nav{display:none}body{background:none}}
"""
)

SCRIPT: Final = """
for (const id of document.querySelectorAll("code.id")) {
  const button = document.createElement("button"), said = document.createElement("span");
  const more = document.createElement("span");
  button.type = "button";
  said.textContent = "Copy";
  said.setAttribute("aria-live", "polite");
  more.className = "aside";
  more.textContent = " the id of " + id.dataset.name;
  button.append(said, more);
  button.addEventListener("click", async () => {
    let done = false;
    try {
      await navigator.clipboard.writeText(id.textContent);
      done = true;
    } catch {
      getSelection().selectAllChildren(id);
      done = document.execCommand("copy");
    }
    said.textContent = done ? "Copied" : "Selected";
    setTimeout(() => { said.textContent = "Copy"; }, 2000);
  });
  id.after(button);
}
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of the page."""
