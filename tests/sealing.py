"""Versions that are sealed, as the database shows them: made so directly, without a command."""

from typing import Any

from pymongo.database import Database

from gridfsmount.core.model import AREAS, State


def seal(database: Database[dict[str, Any]], dataset: str, version: str) -> None:
    """Seal `datasets/DATASET/VERSION`, before any mount that reads it is started."""
    folder = _find(database, AREAS["datasets"], dataset)
    sealed = _find(database, folder["_id"], version)
    database["fs.tree"].update_one(
        {"_id": sealed["_id"]}, {"$set": {"state": State.SEALED.value}, "$inc": {"rev": 1}}
    )


def _find(database: Database[dict[str, Any]], parent: int, name: str) -> dict[str, Any]:
    found = database["fs.tree"].find_one(
        {"names": {"$elemMatch": {"parent": parent, "name": name}}}
    )
    assert found is not None, f"{name} is not there"
    return found
