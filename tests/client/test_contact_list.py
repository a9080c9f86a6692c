"""What is read of contacts is seen by `tests/cli/test_contacts.py`; here is what must not be followed."""

from __future__ import annotations

from pathlib import Path

from onionshh.client.contact_list import contacts_in


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "contacts" / "0123456789abcdef"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(b"not ours")
    (folder / "contact.db").symlink_to(tmp_path / "elsewhere")
    assert contacts_in(tmp_path) == []
