"""The tests of the compiled cipher under the address and the undefined-behaviour sanitizer: `make sanitize`.

The extension is built anew beside the source, and takes the place of the one that is installed. The first
thing that a sanitizer finds ends the process.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "onionshh" / "crypto" / "_uiv.c"
NAME = "onionshh.crypto._uiv"
FLAGS = (
    *("-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-fPIC", "-shared"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror", "-Wno-missing-field-initializers"),
    *("-Wno-cast-function-type", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
CALLS = 1_000_000
TESTS = ("tests/crypto/test_compiled.py", "tests/crypto/test_uiv.py", "tests/crypto/test_layers.py")


def build(folder: Path) -> tuple[Path, str]:
    """The library with the sanitizers in it, and what must be loaded before all else."""
    compiler = os.environ.get("CC", "cc")
    library = folder / "_uiv.abi3.so"
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run([compiler, *FLAGS, include, str(SOURCE), "-lcrypto", "-o", str(library)], check=True)
    names = ("libasan.so", "libubsan.so")
    first = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        for name in names
    ]
    return library, ":".join(one.stdout.strip() for one in first)


def use(library: str) -> None:
    """From now on, that library is the compiled cipher of this process."""
    import onionshh.crypto

    loader = importlib.machinery.ExtensionFileLoader(NAME, library)
    spec = importlib.util.spec_from_file_location(NAME, library, loader=loader)
    if spec is None:
        raise ImportError(library)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[NAME] = module
    onionshh.crypto._uiv = module


def inside(library: str) -> int:
    """What runs under the sanitizers."""
    use(library)
    import pytest

    from onionshh.crypto.uiv import CIPHER
    from tests.crypto import hostile_calls
    from tests.crypto.comparing import compare

    if CIPHER.name != "compiled":
        return 1
    status = pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", *TESTS])
    if status:
        return int(status)
    compare(CIPHER, 20_000, seed=int.from_bytes(os.urandom(8)))
    sys.argv = ["hostile_calls", str(CALLS), "of any size"]
    hostile_calls.main()
    return 0


def main() -> int:
    if len(sys.argv) == 2:
        return inside(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        library, first = build(Path(folder))
        environment = os.environ | {
            "LD_PRELOAD": first,
            "ASAN_OPTIONS": "detect_leaks=0",  # CPython leaks at its end. `hostile_calls` looks for leaks
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONMALLOC": "malloc",  # else a sanitizer sees no single object
        }
        arguments = [sys.executable, "-m", "tests.crypto.sanitizing", str(library)]
        return subprocess.run(arguments, env=environment, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
