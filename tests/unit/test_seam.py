"""One table for what pymongo raises."""

from typing import Any

import pymongo
import pytest
from bson.errors import InvalidBSON, InvalidDocument
from pymongo import errors as theirs

from gridfsmount import errors as ours
from gridfsmount.store.seam import Seam, is_duplicate, reason_of, translate


def refused(code: int, **details: Any) -> theirs.OperationFailure:
    return theirs.OperationFailure("refused", code, {"code": code, "errmsg": "refused", **details})


def bulk(*codes: int, concern: int | None = None) -> theirs.BulkWriteError:
    concerns = [{"code": concern, "errmsg": "waiting"}] if concern is not None else []
    return theirs.BulkWriteError(
        {
            "writeErrors": [
                {"index": i, "code": code, "errmsg": "no"} for i, code in enumerate(codes)
            ],
            "writeConcernErrors": concerns,
            "nInserted": 0,
        }
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (theirs.ServerSelectionTimeoutError("nobody"), ours.StoreUnavailable),
        (theirs.NetworkTimeout("slow"), ours.StoreUnavailable),
        (theirs.AutoReconnect("reset"), ours.StoreUnavailable),
        (theirs.NotPrimaryError("stepped down"), ours.StoreUnavailable),
        (theirs.ConnectionFailure("refused"), ours.StoreUnavailable),
        (theirs.WaitQueueTimeoutError("busy"), ours.StoreUnavailable),
        (theirs.ExecutionTimeout("MaxTimeMSExpired", 50), ours.StoreUnavailable),
        (theirs.WTimeoutError("no majority", 64), ours.StoreUnavailable),
        (refused(13), ours.AccessDenied),
        (refused(112), ours.Conflict),
        (refused(14031), ours.NoSpace),
        (refused(12299), ours.NoSpace),
        (theirs.WriteError("full", 14031, {"code": 14031}), ours.NoSpace),
        (bulk(14031), ours.NoSpace),
        (bulk(13), ours.AccessDenied),
        (bulk(concern=13), ours.AccessDenied),
        (refused(8), ours.StoreFailed),
        (bulk(121), ours.StoreFailed),
        (theirs.DuplicateKeyError("taken", 11000, {"code": 11000}), ours.StoreFailed),
        (theirs.InvalidOperation("closed"), ours.StoreFailed),
        (theirs.PyMongoError("what"), ours.StoreFailed),
        (InvalidBSON("garbage"), ours.Damaged),
        (InvalidDocument("garbage"), ours.Damaged),
    ],
)
def test_every_error_of_the_driver_has_its_place(
    error: Exception, expected: type[ours.FileSystemError]
) -> None:
    assert type(translate("do it", error)) is expected


def test_the_message_says_what_was_tried() -> None:
    assert str(translate("read inode 5", refused(8))).startswith("read inode 5: ")


def test_an_operation_raises_the_lakes_error_and_keeps_the_cause() -> None:
    cause = theirs.AutoReconnect("reset")
    with pytest.raises(ours.StoreUnavailable) as caught, Seam(5).operation("read"):
        raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("error", [ours.Conflict("meanwhile"), KeyError("x"), KeyboardInterrupt()])
def test_other_errors_pass_through_an_operation(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Seam(5).operation("read"):
        raise error
    assert caught.value is error


def test_an_operation_has_a_deadline() -> None:
    with Seam(5).operation("read", factor=2):
        remaining = pymongo._csot.remaining()
    assert remaining is not None
    assert 9 < remaining <= 10


def test_duplicates_are_told_apart() -> None:
    assert is_duplicate(theirs.DuplicateKeyError("taken", 11000, {"code": 11000}))
    assert is_duplicate(bulk(11000))
    assert not is_duplicate(refused(13))
    assert not is_duplicate(theirs.AutoReconnect("reset"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            'not authorized on lake to execute command { find: "fs.tree", filter: { _id: 1 } }',
            'not authorized on lake to execute command find "fs.tree"',
        ),
        (
            'not authorized on lake to execute command { insert: "fs.chunks", documents: [ {\n} ]}',
            'not authorized on lake to execute command insert "fs.chunks"',
        ),
        (
            "not authorized on lake to execute command { dbStats: 1, $db: 'lake' }",
            "not authorized on lake to execute command dbStats 1",
        ),
    ],
)
def test_a_refusal_does_not_repeat_the_whole_command(said: str, expected: str) -> None:
    error = theirs.OperationFailure(said, 13, {"code": 13, "errmsg": said})
    assert reason_of(error) == expected
