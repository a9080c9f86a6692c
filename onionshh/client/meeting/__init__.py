"""Meetings by a shared secret, as a program uses them (SPEC 14)."""
