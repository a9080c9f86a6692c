"""`--config` and `--print-config`, once for all commands, and what a running program takes up at SIGHUP."""
