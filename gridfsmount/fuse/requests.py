"""The names of the kernel's requests, as pyfuse3 calls their handlers."""

from typing import Final

OF_INODES: Final = frozenset(
    [
        "lookup",
        "getattr",
        "setattr",
        "readlink",
        "mkdir",
        "mknod",
        "symlink",
        "link",
        "unlink",
        "rmdir",
        "rename",
        "create",
        "open",
        "opendir",
        "getxattr",
        "setxattr",
        "listxattr",
        "removexattr",
    ]
)
"""Their first argument is an inode: of a directory, where there is a name as well."""

OF_FILES: Final = frozenset(["read", "write", "flush", "fsync", "release"])
"""Their first argument is a handle of a file."""

OPERATIONS: Final = OF_INODES | OF_FILES | {"statfs", "readdir", "releasedir", "fsyncdir"}
"""All that are answered."""
