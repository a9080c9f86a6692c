"""onionshh as others get it: a wheel in an environment of its own, and the editable installation of make.

Nothing is fetched. The packages that onionshh needs are those of the environment that runs the tests, by a
path file; onionshh itself is what was installed there, and the checkout is out of sight.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.system.processes import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
OURS = ("onionshh", "relay", "rendezvous", "directory", "tests", "simulations")
LEFT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "simulations")
SDIST = "import sys\nfrom setuptools import build_meta\nprint(build_meta.build_sdist(sys.argv[1]))"

DAPP = """

import trio

import directory
import onionshh
import relay
import rendezvous
from onionshh import testing


async def main() -> None:
    async with testing.network(relays=4) as net, net.join() as node:
        async with node.host(onionshh.Identity.generate()) as endpoint:

            async def answer() -> None:
                async for whisper in endpoint:
                    await whisper.reply(whisper.body.upper())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                await endpoint.reachable()
                async with node.contact(endpoint.address) as contact:
                    reply: bytes = await contact.ask(relay.QUESTION)
                    print(reply.decode(), directory.MINE, rendezvous.MINE, onionshh.__file__)
                nursery.cancel_scope.cancel()


trio.run(main)
"""
# Each line is a mistake that only someone who sees our types can find.
WRONG = """
import onionshh


async def main(node: onionshh.Node) -> None:
    async with node.contact(5) as contact:
        await contact.ask("text")
        number: int = contact.address
        contact.no_such_method()
"""


def run(*command: object, folder: Path, status: int = 0) -> str:
    """Its stdout, from a folder where no checkout is to be found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(one) for one in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


class Environment:
    """A new environment: nothing of ours, and what ours needs."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.folder = folder
        self.python = folder / "bin" / "python"
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(run(self.python, "-c", where, folder=folder).strip())
        needed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.packages / "needed.pth").write_text("\n".join(needed))

    def install(self, *what: object) -> None:
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, "install")
        quiet = ("-q", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
        run(*pip, *quiet, *what, folder=self.folder)

    def types(self, script: Path, status: int) -> str:
        """What mypy says of it in this environment."""
        cache = self.folder.parent / "mypy-cache"
        mypy = (self.python, "-m", "mypy", "--strict", "--cache-dir", cache)
        return run(*mypy, script.name, folder=script.parent, status=status)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building leaves things behind."""
    folder = tmp_path_factory.mktemp("source") / "onionshh"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=LEFT)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv")
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def dapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's program with files of the names that our folders have."""
    folder = tmp_path_factory.mktemp("dapp")
    (folder / "dapp.py").write_text(DAPP)
    (folder / "wrong.py").write_text(WRONG)
    (folder / "relay.py").write_text('QUESTION = b"hello"\n')
    for name in ("directory", "rendezvous"):
        (folder / f"{name}.py").write_text(f'MINE = "my {name}"\n')
    return folder


def make_wheel(source: Path, to: Path) -> Path:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-index")
    run(*pip, "--no-deps", "--no-build-isolation", "-w", to, source, folder=to)
    (made,) = to.glob("onionshh-*.whl")
    return made


def test_a_wheel_holds_one_name_and_every_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"onionshh"}
    for name in ("onionshh", "relay", "rendezvous", "directory"):
        within = "" if name == "onionshh" else "onionshh/"
        for path in (ROOT / name).rglob("*.py"):
            assert f"{within}{path.relative_to(ROOT)}" in names
    assert "onionshh/py.typed" in names


def test_the_wheel_of_a_source_archive_is_the_same(wheel: Path, source: Path, tmp_path: Path) -> None:
    name = run(sys.executable, "-c", SDIST, tmp_path, folder=source).splitlines()[-1]
    other = make_wheel(tmp_path / name, tmp_path)
    assert set(zipfile.ZipFile(other).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_an_installed_onionshh_takes_one_name(installed: Environment) -> None:
    assert [name for name in OURS if (installed.packages / name).exists()] == ["onionshh"]
    assert not (installed.packages / "onionshh" / "relay").is_symlink()


def test_the_demo_runs(installed: Environment, tmp_path: Path) -> None:
    command = installed.folder / "bin" / "onionshh"
    said = run(command, "demo", "--relays", 4, "--hops", 1, folder=tmp_path)
    assert "delivered both ways" in said.splitlines()[-1]


def test_a_program_with_names_like_ours_runs(installed: Environment, dapp: Path) -> None:
    said = run(installed.python, "dapp.py", folder=dapp).split()
    assert said[:-1] == ["HELLO", "my", "directory", "my", "rendezvous"]
    assert Path(said[-1]).is_relative_to(installed.packages)


def test_a_program_has_our_types(installed: Environment, dapp: Path) -> None:
    assert "no issues" in installed.types(dapp / "dapp.py", 0)
    assert_found(installed.types(dapp / "wrong.py", 1))


def test_an_editable_installation_has_them_too(source: Path, dapp: Path, tmp_path: Path) -> None:
    """As `make` installs it."""
    environment = Environment(tmp_path / "venv")
    environment.install("--editable", source)
    where = run(environment.python, "-c", "import onionshh; print(onionshh.__file__)", folder=dapp)
    assert Path(where.strip()).is_relative_to(source)
    assert "no issues" in environment.types(dapp / "dapp.py", 0)
    assert_found(environment.types(dapp / "wrong.py", 1))


def assert_found(said: str) -> None:
    """Each mistake, and that of the right kind: not that onionshh was not found."""
    for line, kind in ((6, "arg-type"), (7, "arg-type"), (8, "assignment"), (9, "attr-defined")):
        assert any(f"wrong.py:{line}:" in one and f"[{kind}]" in one for one in said.splitlines()), said
    assert "Found 4 errors" in said
