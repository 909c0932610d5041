"""Whole trees in and out of a lake, without the kernel: blocking code, in threads."""
