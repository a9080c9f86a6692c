"""The limit of descriptors, in processes of their own: a limit once lowered stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from onionshh.net.file_descriptors import for_links, raise_limit

soft, hard = {soft}, {hard}
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
{what}
"""


def said(what: str, soft: int, hard: int) -> str:
    program = PROGRAM.format(soft=soft, hard=hard, what=what)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("soft, hard, after", [(64, 512, 512), (512, 512, 512)])
def test_the_limit_is_raised_to_what_the_system_allows(soft: int, hard: int, after: int) -> None:
    what = "raise_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    assert said(what, soft, hard) == f"({after}, {hard})"


@pytest.mark.parametrize("limit, links", [(64, 32), (256, 128), (1024, 896)])
def test_some_are_kept_for_what_is_no_link(limit: int, links: int) -> None:
    assert said("print(for_links())", limit, limit) == str(links)
