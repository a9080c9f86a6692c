"""The page's colours can be read, and its policy lets in what is in it and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pytest

from onionshh.directory.page_style import DARK, LIGHT, POLICY, SCRIPT, STYLE

ENOUGH = 4.5
"""What WCAG 2.1 wants for text of the usual size."""


def brightness(colour: str) -> float:
    """The relative luminance of a colour as #rrggbb."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [(text, ground) for text in ("text", "quiet", "accent") for ground in ("ground", "card")]
    + [("accent", "accent-soft"), ("late", "late-soft"), ("late", "card"), ("bad", "card")],
)
def test_every_text_stands_out_from_its_ground(colours: Mapping[str, str], text: str, ground: str) -> None:
    assert contrast(colours[text], colours[ground]) >= ENOUGH


def test_both_sets_have_the_same_names_and_no_colour_stands_anywhere_else() -> None:
    assert set(LIGHT) == set(DARK)
    used = {part.partition(")")[0] for part in STYLE.split("var(--")[1:]}
    assert used <= set(LIGHT)
    assert STYLE.count("#") == len(LIGHT) + len(DARK)


def test_the_policy_names_the_hashes_of_what_is_in_the_page() -> None:
    for text in (STYLE, SCRIPT):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in POLICY
        assert "</" not in text
    assert POLICY.startswith("default-src 'none'; ")
    assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*", "data:"} & set(POLICY.split())
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_nothing_from_relays_is_made_into_markup_by_the_script() -> None:
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "fetch", "import"):
        assert way not in SCRIPT
