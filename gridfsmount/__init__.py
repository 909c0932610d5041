"""Mount a MongoDB GridFS data lake as an ordinary directory tree."""

__version__ = "0.1.0"
