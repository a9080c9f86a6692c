"""`python -m onionshh`: the same as the `onionshh` command."""

from __future__ import annotations

import sys

from onionshh.cli import main

sys.exit(main())
