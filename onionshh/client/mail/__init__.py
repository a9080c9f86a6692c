"""The client's ways to mailboxes: proofs of work, deposits that last, and reading (SPEC 14)."""
