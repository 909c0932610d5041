"""The mount beside what it is measured against, on the same server, one after the other.

`make bench` runs `python -m benchmarks`. What counts are the ratios: they carry over from one
machine to another, seconds do not.
"""
