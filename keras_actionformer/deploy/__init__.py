"""A model out of Python: export, serve, ask."""
