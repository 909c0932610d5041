"""The lake in MongoDB: the only package that imports pymongo.

Everything here blocks and knows nothing of trio or FUSE; callers run it in worker threads. Every
call ends within the connection's deadline, and raises only `gridfsmount.errors`.
"""
