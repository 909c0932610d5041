"""The documents: promises and the tests that keep them, links, and the README in two languages."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
DOCUMENTS: Final = TESTS.parent / "docs"
DOCUMENT: Final = DOCUMENTS / "semantics.md"
READMES: Final = (TESTS.parent / "README.md", TESTS.parent / "README.pt-BR.md")
PAGES: Final = (*READMES, TESTS.parent / "CHANGELOG.md", *sorted(DOCUMENTS.glob("*.md")))

PROMISE: Final = re.compile(
    r"^- \*\*(S-[A-Z]+(?:-[A-Z]+)?-\d+)\*\* (.+?)<sub>`([^`]+)`</sub>$", re.M | re.S
)
"""The name of a promise, its words, and its test as `file::function` below `tests/`."""


NAMED: Final = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
"""A test, wherever a document names one."""

FENCED: Final = re.compile(r"^```.*?^```$", re.M | re.S)
INDENTED: Final = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*\n|\n(?= {4}))+")
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.M)
ASIDE: Final = re.compile(r" {3,}.*")
"""What stands beside a command, in the reader's language."""


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


def prose(page: Path) -> str:
    """A page without its code."""
    text = INDENTED.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    return re.sub(r"`[^`]*`", "code", text)


def anchors(page: Path) -> set[str]:
    """Where links may lead to in a page, as GitHub names its headings."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(text):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def code(page: Path) -> list[str]:
    """The blocks of code in a page, without what explains them."""
    text = page.read_text(encoding="utf-8")
    found = [*FENCED.findall(text), *INDENTED.findall(FENCED.sub("", text))]
    return [
        "\n".join(ASIDE.sub("", line.strip()) for line in block.splitlines() if line.strip())
        for block in found
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_readme_names_every_document() -> None:
    for readme in READMES:
        links = LINK.findall(prose(readme))
        assert {f"docs/{page.name}" for page in DOCUMENTS.glob("*.md")} <= set(links)


def test_the_readme_says_the_same_in_both_languages() -> None:
    one, other = READMES
    assert code(one) == code(other)
    assert len(code(one)) > 15
    levels = [re.findall(r"^#+(?= )", FENCED.sub("", each.read_text()), re.M) for each in READMES]
    assert levels[0] == levels[1]
    assert other.name in LINK.findall(prose(one))
    assert one.name in LINK.findall(prose(other))


def test_the_manual_lists_its_sections_in_their_order() -> None:
    text = FENCED.sub("", (DOCUMENTS / "operations.md").read_text(encoding="utf-8"))
    introduction, _, rest = text.partition("\n## ")
    headings = re.findall(r"^## (.+)$", f"## {rest}", re.M)
    links = [link for link in LINK.findall(introduction) if link.startswith("#")]
    assert links == [
        "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    ]
