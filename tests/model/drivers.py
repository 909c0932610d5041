"""What a GridFS driver finds of a folder, compared with its tree."""

import gridfs

from tests.model.trees import Leaf


def check_drivers_view(bucket: gridfs.GridFSBucket, prefix: str, leaves: dict[str, Leaf]) -> None:
    """A driver finds each file that is not empty once, under (one of) its names."""
    found: dict[str, bytes] = {}
    for filename in _filenames(bucket, prefix):
        path = filename.removeprefix(prefix)
        assert path in leaves, f"a driver still finds {filename}"
        first = leaves[path].same_as
        assert first not in found, f"a driver finds {filename} and {first}: one hard link each"
        found[first] = bucket.open_download_stream_by_name(filename).read()
    assert found == {
        path: leaf.content for path, leaf in leaves.items() if leaf.content and leaf.same_as == path
    }


def _filenames(bucket: gridfs.GridFSBucket, prefix: str) -> list[str]:
    past = prefix[:-1] + "0"  # the character after "/"
    return [each.filename for each in bucket.find({"filename": {"$gt": prefix, "$lt": past}})]
