"""Backups: from a lake into a vault, and back. Blocking."""
