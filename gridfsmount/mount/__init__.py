"""The composition root: from options to a running mount, and its end."""
