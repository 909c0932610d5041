"""Lines of keys in a TOML file."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.config.lines import find_lines

TEXT = '''# a comment with [brackets] and "quotes
uri = "mongodb://h/#lake"   # [not a table]

[mount]            # a table
cache_size = "1GiB"
"disk cache" = """
[fake]
key = 1 \\""" still
"""
list = [  # over
  "a", # lines
  [1, 2],
]
after = 1
[ vaults . "the nas" ]
'literal key' = \'''
x = ' = '\'''
prune.keep_last = 3
inline = {a = 1, b = "]"}
[[array]]
last = 'it''s'
'''.replace("'it''s'", "'its'")


def test_the_line_of_every_key_is_found() -> None:
    tomllib.loads(TEXT)
    vault = ("vaults", "the nas")
    assert find_lines(TEXT) == {
        ("uri",): 2,
        ("mount",): 4,
        ("mount", "cache_size"): 5,
        ("mount", "disk cache"): 6,
        ("mount", "list"): 10,
        ("mount", "after"): 14,
        vault: 15,
        (*vault, "literal key"): 16,
        (*vault, "prune"): 18,
        (*vault, "prune", "keep_last"): 18,
        (*vault, "inline"): 19,
        ("array",): 20,
        ("array", "last"): 21,
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_of_other_systems_count_once(end: str) -> None:
    text = end.join(["", "[a]", 'b = """', 'x"""', "c = 1"])
    assert find_lines(text) == {("a",): 2, ("a", "b"): 3, ("a", "c"): 5}


def test_a_quoted_key_is_what_its_escapes_say() -> None:
    assert find_lines('\n"a\\u0062\\"c" = 1') == {('ab"c',): 2}
    assert find_lines('a . "b.c" = 1') == {("a",): 1, ("a", "b.c"): 1}


KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f#='", '"g\\"]"', "5"])
VALUES = st.sampled_from(
    [
        "1",
        "'#'",
        '"a\\\\"',
        '"""\n[x]\ny = 1\n"""',
        "'''\n\"\n'''",
        "[\n1,\n# ]\n'a',\n]",
        "{ p = '}' }",
        "1979-05-27T07:32:00Z",
        '""""quoted""""',
    ]
)


@given(st.lists(st.tuples(KEYS, VALUES, st.sampled_from(["", "\n", " # = [", "\n\n# x\n"]))))
def test_what_tomllib_reads_has_a_line_which_begins_with_its_key(
    entries: list[tuple[str, str, str]],
) -> None:
    text = "".join(
        f"[{key}{number}]\n" if number % 3 == 0 else f"x{number}.{key} = {value}{after}\n"
        for number, (key, value, after) in enumerate(entries)
        if number % 3 or not key.startswith(('"', "'"))
    )
    lines = text.split("\n")
    found = find_lines(text)

    def check(table: dict[str, Any], path: tuple[str, ...]) -> None:
        for name, value in table.items():
            if (*path, name) not in found:
                assert name == "p", "only what is in an inline table has no line of its own"
                continue
            assert lines[found[*path, name] - 1].startswith((f"[{name}", "x"))
            if isinstance(value, dict):
                check(value, (*path, name))

    check(tomllib.loads(text), ())
