"""File system semantics, in domain types: what the kernel's requests mean for a lake.

Knows neither FUSE nor MongoDB. Runs on the event loop: state is consistent between two awaits,
and a stretch that relies on it says so.
"""
