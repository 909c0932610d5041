"""docs/semantics.md and the tests that keep its promises, compared."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
DOCUMENTS: Final = TESTS.parent / "docs"
DOCUMENT: Final = DOCUMENTS / "semantics.md"

PROMISE: Final = re.compile(
    r"^- \*\*(S-[A-Z]+(?:-[A-Z]+)?-\d+)\*\* (.+?)<sub>`([^`]+)`</sub>$", re.M | re.S
)
"""The name of a promise, its words, and its test as `file::function` below `tests/`."""


NAMED: Final = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
"""A test, wherever a document names one."""


def promises() -> list[tuple[str, str]]:
    """Names of the promises and of their tests, in the order of the document."""
    found = PROMISE.findall(DOCUMENT.read_text(encoding="utf-8"))
    return [(name, test) for name, _, test in found]


def functions(file: Path) -> set[str]:
    """The tests of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


def test_every_line_that_looks_like_a_promise_is_one() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(promises()) == text.count("\n- **S-") == text.count("<sub>") > 50


def test_no_two_promises_share_a_name() -> None:
    names = Counter(name for name, _ in promises())
    assert [name for name, count in names.items() if count > 1] == []


def test_promises_are_numbered_without_gaps() -> None:
    seen: dict[str, list[int]] = {}
    for name, _ in promises():
        subject, _, number = name.rpartition("-")
        seen.setdefault(subject, []).append(int(number))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen.values())


@pytest.mark.parametrize(("name", "test"), promises())
def test_every_promise_is_kept_by_a_test(name: str, test: str) -> None:
    file, _, function = test.partition("::")
    assert (TESTS / file).is_file(), f"{name}: there is no tests/{file}"
    assert function in functions(TESTS / file), f"{name}: tests/{file} has no {function}"


def test_every_test_here_keeps_a_promise() -> None:
    kept = {test for _, test in promises()}
    here = {
        f"semantics/{file.name}::{function}"
        for file in Path(__file__).parent.glob("test_*.py")
        if file != Path(__file__)
        for function in functions(file)
    }
    assert here - kept == set()


@pytest.mark.parametrize("document", sorted(DOCUMENTS.glob("*.md")), ids=lambda each: each.name)
def test_tests_that_documents_name_are_there(document: Path) -> None:
    for file, function in NAMED.findall(document.read_text(encoding="utf-8")):
        assert function in functions(TESTS / file), f"{document.name}: {file}::{function}"
