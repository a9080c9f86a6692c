"""Backups: what of a folder is kept, one file for it, and how it is checked before anything is replaced."""
