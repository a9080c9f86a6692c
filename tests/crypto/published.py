"""Published vectors of others, where they are at hand: a test that wants missing ones is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"


def published(name: str) -> Any:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the published vectors {name} are not here")
    return _bytes(json.loads(path.read_text(encoding="utf-8")))


def _bytes(value: Any) -> Any:
    """Nested lists with every hex string as bytes; what is no hex stays text."""
    if isinstance(value, dict):
        return {key: _bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_bytes(part) for part in value]
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value
