"""Pure domain logic: no I/O, no clock, no randomness, no third-party service."""
