"""`python -m tests.fuzz`, which is `make fuzz`: with atheris if it is installed."""

from __future__ import annotations

import contextlib
import io
import sys


def main() -> int:
    """Fuzz as the command line says; 0 if every door holds."""
    try:
        import atheris
    except ImportError:
        from tests.fuzz import run

        return run.main(None)
    # What atheris shall see the coverage of must be imported under it. It names every module.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["onionshh"]):
        from tests.fuzz import run
    return run.main(atheris)


if __name__ == "__main__":
    sys.exit(main())
