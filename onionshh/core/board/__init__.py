"""Boards: what many people post and read under one topic (SPEC 14). Pure."""
