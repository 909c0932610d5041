"""Backups: made, verified, thinned out and restored. Blocking."""
