"""Sessions at work: kept on disk, resumed over fresh circuits, accepted, and called back (SPEC 12)."""
