"""Boards, as a program uses them (SPEC 14)."""
