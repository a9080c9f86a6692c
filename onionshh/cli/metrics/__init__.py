"""Numbers for Prometheus: `--metrics` of `relay`, `directory` and `host`."""
