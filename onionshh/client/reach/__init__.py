"""The way to one endpoint: its descriptor, an introduction, a joined circuit."""
