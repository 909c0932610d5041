"""Lists of operations that get into each other's way: few names, few handles, sizes at borders."""

import itertools
import os
import stat

from hypothesis import strategies as st

from tests.model import operations as op
from tests.model.operations import Data, Operation

CHUNK = 4096
"""Bytes: the smallest chunks that a mount makes, so that small files have many."""

LONGEST = "n" * 255
TOO_LONG = "n" * 256
LONGEST_UTF8 = "é" * 127

LANDSCAPE: tuple[Operation, ...] = (
    op.MakeFolder("a", 0o777),
    op.MakeFolder("a/a", 0o777),
    op.MakeFolder("d", 0o777),
    op.WriteFile("b", Data(200, 10_000)),
    op.WriteFile("a/b", Data(201, 5)),
    op.MakeLink("b", "a/h"),
    op.SetAttribute("b", "user.a", b"here before", 0, follow=True),
    op.Open(0, "b", os.O_RDWR, 0),
    op.Open(1, "b", os.O_RDWR | os.O_APPEND, 0),
    op.Open(2, "a/b", os.O_RDWR, 0),
)
"""What there is before every list, so that few operations meet nothing at all."""

folders = st.sampled_from(["a", "a", "a/a", "d"])
files = st.sampled_from(["b", "b", "a/b", "a/h", "c"])
absent = st.sampled_from(["c", "c", "a/c", "d/b", "a/a/d"])
# Never "..", which would lead out of the example's folder.
odd = st.sampled_from(
    [".", "é", "b/a", "d/a", "a/a/a", LONGEST, LONGEST_UTF8, TOO_LONG, f"a/{LONGEST}"]
)
paths = st.one_of(folders, files, files, absent, odd)
targets = st.sampled_from(["a", "b", "c", "a/b", "nowhere", ".", "", "é", "x" * 1000])
slots = st.integers(0, 2)
modes = st.sampled_from([0o644, 0o755, 0o600, 0o000, 0o777, 0o1777, 0o2755, 0o4755, 0o6777])
owners = st.sampled_from([-1, 0, 1000, 65534])
follow = st.booleans()

sizes = st.one_of(
    st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]),
    st.integers(0, 5 * CHUNK),
)
data = st.builds(Data, st.integers(0, 99), sizes)

# Each at least an hour from now: before the epoch, at it, past, far future (before 2038).
times_ns = st.one_of(
    st.none(),
    st.sampled_from(
        [
            0,
            1,
            -1,
            -1_500_000_001,
            999_999_999,
            1_234_567_890_123_456_789,
            2_000_000_000 * 10**9 + 1,
        ]
    ),
)

xattr_names = st.sampled_from(["user.a"] * 4 + ["user.b", "user.é", "user.", "user." + "x" * 250])
xattr_values = st.sampled_from([b"", b"1", b"\0\xff", b"x" * 500])
xattr_flags = st.sampled_from([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])

_access = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
_options = st.sets(
    st.sampled_from(
        [os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_EXCL, os.O_NOFOLLOW, os.O_DIRECTORY]
    ),
    max_size=3,
)
flags = st.builds(lambda access, options: access | sum(options), _access, _options)

kinds = st.sampled_from([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG])
rename_flags = st.sampled_from(
    [op.RENAME_NOREPLACE, op.RENAME_EXCHANGE, op.RENAME_EXCHANGE | op.RENAME_NOREPLACE]
)

operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(op.Open, slots, paths, flags, modes),
    st.builds(op.Open, slots, files | absent, st.just(os.O_RDWR | os.O_CREAT), st.just(0o666)),
    st.builds(op.Close, slots),
    st.builds(op.CloseDuplicate, slots),
    st.builds(op.Write, slots, data),
    st.builds(op.WriteAt, slots, sizes, data),
    st.builds(op.WriteMapped, slots, sizes, data),
    st.builds(op.Read, slots, sizes),
    st.builds(op.ReadAt, slots, sizes, sizes),
    st.builds(op.Seek, slots, sizes, st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
    st.builds(op.TruncateOpen, slots, sizes),
    st.builds(op.Sync, slots, st.booleans()),
    st.builds(op.LookOpen, slots),
    st.builds(op.ChangeModeOpen, slots, modes),
    st.builds(op.SetTimesOpen, slots, times_ns),
    st.builds(op.SetAttributeOpen, slots, xattr_names, xattr_values),
    st.builds(op.ListAttributesOpen, slots),
    st.builds(op.WriteFile, files | absent | paths, data),
    st.builds(op.AppendToFile, files | paths, data),
    st.builds(op.ReadFile, files | paths),
    st.builds(op.Truncate, files | paths, sizes),
    st.builds(op.MakeFolder, absent | paths, modes),
    st.builds(op.MakeNode, absent | paths, kinds, modes),
    st.builds(op.MakeSymlink, absent | paths, targets),
    st.builds(op.MakeLink, files | paths, absent | paths),
    st.builds(op.Unlink, files | paths),
    st.builds(op.RemoveFolder, folders | paths),
    st.builds(op.Rename, files | paths, files | paths),
    st.builds(op.Rename, folders | paths, absent | paths),
    st.builds(op.Rename, files | paths, files | absent | paths, rename_flags),
    st.builds(op.List, folders | paths),
    st.builds(op.LookAt, paths, follow),
    st.builds(op.ReadLink, absent | paths),
    st.builds(op.ChangeMode, paths, modes),
    st.builds(op.ChangeOwner, paths, owners, owners, follow),
    st.builds(op.SetTimes, folders | paths, times_ns, follow),
    st.builds(
        op.SetAttribute, folders | files | paths, xattr_names, xattr_values, xattr_flags, follow
    ),
    st.builds(op.GetAttribute, folders | files | paths, xattr_names, follow),
    st.builds(op.ListAttributes, folders | files | paths, follow),
    st.builds(op.RemoveAttribute, folders | files | paths, xattr_names, follow),
)

# One list of up to 30 would have 6 on average. Parts of it can still shrink to nothing.
programs = st.tuples(*[st.lists(operations, max_size=6)] * 5).map(
    lambda parts: list(itertools.chain.from_iterable(parts))
)

MEBIBYTE = 1 << 20

_large_sizes = st.one_of(
    st.sampled_from([0, 1, MEBIBYTE - 1, MEBIBYTE, 4 * MEBIBYTE, 9 * MEBIBYTE, 12 * MEBIBYTE + 7]),
    st.integers(0, 16 * MEBIBYTE),
)
_large_data = st.builds(Data, st.integers(0, 99), _large_sizes)
_handle = st.just(0)
_file = st.just("b")

large_programs = st.lists(
    st.one_of(
        st.just(op.Open(0, "b", os.O_RDWR | os.O_CREAT, 0o666)),
        st.just(op.Open(0, "b", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)),
        st.just(op.Open(0, "b", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)),
        st.builds(op.WriteAt, _handle, _large_sizes, _large_data),
        st.builds(op.Write, _handle, _large_data),
        st.builds(op.Write, _handle, data),
        st.builds(op.WriteAt, _handle, _large_sizes, data),
        st.builds(op.ReadAt, _handle, _large_sizes, _large_sizes),
        st.builds(op.TruncateOpen, _handle, _large_sizes),
        st.builds(op.Sync, _handle, st.booleans()),
        st.builds(op.Close, _handle),
        st.builds(op.ReadFile, _file),
        st.builds(op.AppendToFile, _file, _large_data),
        st.builds(op.Truncate, _file, _large_sizes),
        st.builds(op.Unlink, _file),
    ),
    min_size=1,
    max_size=14,
).map(lambda steps: [op.Open(0, "b", os.O_RDWR | os.O_CREAT, 0o666), *steps])
"""On one file; most of it through one handle."""
