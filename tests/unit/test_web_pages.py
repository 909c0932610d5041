"""What the catalogue page makes of values: nothing in a page but what the templates put there."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from gridfsmount.versions.comparing import Summary
from gridfsmount.web.comparison import Difference
from gridfsmount.web.pages import FLUSH, Pages, diff_url, shelf_url, version_url

PAGES = Pages({"lake": "server/lake.fs"})


def error_page(text: str) -> str:
    return PAGES.render("error.html", title=text, text=text)


@given(st.text(st.characters(codec=None)))
def test_no_text_gets_out_of_its_place(text: str) -> None:
    page = error_page(text)
    plain = error_page("x")
    assert page.count("<") - plain.count("<") == page.count("<code>") * 2
    assert page.encode("utf-8", "strict")
    assert not set(page) & {FLUSH, "\u202e", "\u2066", "\x1b"}


def test_commands_in_a_sentence_are_shown_as_such() -> None:
    assert "run <code>gridfsmount gc &lt;b&gt;</code>" in error_page("run `gridfsmount gc <b>`")


@pytest.mark.parametrize("at_ns", [1, 1 << 62, (1 << 63) - 1])
def test_a_time_is_told_to_the_minute(at_ns: int) -> None:
    shown = PAGES._environment.filters["when"](at_ns)
    assert isinstance(shown, Markup)
    told = shown.striptags()
    assert datetime.strptime(told, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).year >= 1970


def test_no_time_is_no_time() -> None:
    assert PAGES._environment.filters["when"](0) == "–"


@given(st.text(st.characters(codec=None), min_size=1))
def test_whatever_the_names_an_address_stays_on_the_page(name: str) -> None:
    for url in (
        shelf_url("datasets", name),
        version_url(f"datasets/{name}/{name}"),
        diff_url("datasets", name, name, name),
    ):
        assert url.startswith("/datasets/")
        assert url.isascii()
        assert not set(url) & set("\"'<> \\")


def test_the_head_of_a_comparison_comes_before_it_is_made() -> None:
    made = []

    def compare() -> Difference:
        made.append(1)
        return Difference((), Summary(), 0, 0)

    pieces = PAGES.stream(
        "diff.html",
        area="datasets",
        name="digits",
        old="v1",
        new="v2",
        names=["v1", "v2"],
        most=1000,
        compare=compare,
    )
    head = next(pieces)
    assert "<h1>" in head
    assert not made
    rest = "".join(pieces)
    assert made
    assert "No difference" in rest
    assert FLUSH not in head + rest
