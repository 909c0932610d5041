"""Caches. They know keys and bytes, and neither the store nor the event loop."""
