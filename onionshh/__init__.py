"""onionshh: an anonymity overlay for whispers between programs and people."""
