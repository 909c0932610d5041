"""`gridfsmount doctor`: what is wrong with a machine, a lake and its backups, and how to mend it.

`machine`, `mounts`, `lake` and `backups` look, each at what its name says; `asking` gives every
look a process of its own and a deadline; `command` prints.
"""
