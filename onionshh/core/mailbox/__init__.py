"""Mailboxes: what waits at relays for someone who is away, where, at what price, and sealed how (SPEC 14).
Pure."""
