"""Meeting by a shared secret (SPEC 14). Pure."""
