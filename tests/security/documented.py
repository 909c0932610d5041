"""What docs/security.md tells a person to type, taken from there."""

import functools
import json
import re
from pathlib import Path
from typing import Any, Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "security.md"

PASSWORD: Final = "s3kret/of:ana@"
"""What the person gives to `passwordPrompt()`."""

_CALL: Final = re.compile(
    r'^db\.getSiblingDB\("(?P<database>[^"]+)"\)\.(?P<name>createRole|createUser)\((?P<given>.*?)\)$',
    re.M | re.S,
)

Document = dict[str, Any]
Pair = tuple[str, str]
"""A collection, or empty for the database, and an action on it."""


@functools.cache
def blocks(language: str, document: Path = DOCUMENT) -> list[str]:
    """All blocks of code in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.M | re.S)


@functools.cache
def calls(document: Path = DOCUMENT) -> list[tuple[str, str, Document]]:
    """Database, `createRole` or `createUser`, and what is given to it."""
    found = []
    for match in _CALL.finditer("\n".join(blocks("js", document))):
        given = match["given"].replace("passwordPrompt()", json.dumps(PASSWORD))
        found.append((match["database"], match["name"], json.loads(given)))
    return found


def command(name: str, given: Document) -> Document:
    """The database command that mongosh makes of a call."""
    named = {"createRole": "role", "createUser": "user"}[name]
    return {name: given[named], **{key: value for key, value in given.items() if key != named}}


def role_of(name: str) -> Document:
    """A role as it is given to `createRole`."""
    return next(each for _, call, each in calls() if call == "createRole" and each["role"] == name)


def pairs(name: str) -> set[Pair]:
    """What a role has itself, without what it inherits."""
    return {
        (each["resource"]["collection"], action)
        for each in role_of(name)["privileges"]
        for action in each["actions"]
    }


def without(name: str, lost: Pair) -> list[Document]:
    """The privileges of a role but for one action on one collection."""
    kept = []
    for each in role_of(name)["privileges"]:
        collection = each["resource"]["collection"]
        actions = [action for action in each["actions"] if (collection, action) != lost]
        if actions:
            kept.append({**each, "actions": actions})
    return kept
