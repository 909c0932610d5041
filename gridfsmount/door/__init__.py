"""A lake for Python programs that cannot mount: files as Python opens them, and as fsspec does.

Blocking, safe to use from several threads, and in processes that were forked: connections are made
when they are first needed, in the process that needs them. Permission bits are not looked at, as in
`put` and `get`: what the database lets its user do may be done.
"""
