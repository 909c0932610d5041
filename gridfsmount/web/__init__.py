"""The catalogue page: what is in a lake and how it is, read-only, as HTML without scripts."""
