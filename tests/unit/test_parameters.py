"""Values of the command line."""

import contextlib

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfsmount.config.kinds import Duration, Endpoint, Owner, Percent, Rate, Size, Umask

SIZE = Size(4 << 10, 8 << 20)
ANY_SIZE = Size(0, 1 << 60)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("4k", 4096),
        ("4K", 4096),
        ("4KB", 4096),
        ("4KiB", 4096),
        ("4 kib", 4096),
        (" 1M ", 1 << 20),
        ("255KiB", 255 << 10),
        ("8MiB", 8 << 20),
        ("1048576b", 1 << 20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@given(st.integers(0, 1 << 20), st.sampled_from(["", "k", "M", "gib", "TB"]))
def test_units_are_powers_of_1024(number: int, unit: str) -> None:
    power = " kmgt".index(unit[0].lower()) if unit else 0
    assert ANY_SIZE.convert(f"{number}{unit}", None, None) == number * 1024**power


@pytest.mark.parametrize(
    "text", ["", "k", "-4k", "4.5M", "4x", "4kk", "0x1000", "1e6", "4 k b", "4095", "9M", "1T"]
)
def test_what_is_no_size_in_range_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SIZE.convert(text, None, None)


@given(st.text() | st.from_regex(r"\d+ ?[kmgt]?i?b?", fullmatch=True))
def test_any_text_is_a_size_in_range_or_refused(text: str) -> None:
    with contextlib.suppress(click.BadParameter):
        assert 4 << 10 <= SIZE.convert(text, None, None) <= 8 << 20


def test_the_default_is_taken_as_it_is() -> None:
    assert SIZE.convert(1 << 20, None, None) == 1 << 20


@pytest.mark.parametrize(("text", "mask"), [("022", 0o22), ("22", 0o22), ("0", 0), ("0777", 0o777)])
def test_masks_are_octal(text: str, mask: int) -> None:
    assert Umask().convert(text, None, None) == mask


@pytest.mark.parametrize("text", ["", "8", "0o22", "1777", "07777", "-1", "u=rwx", "22 "])
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Umask().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "owner"),
    [("1000:1001", (1000, 1001)), ("0:0", (0, 0)), ("4294967294:1", (2**32 - 2, 1))],
)
def test_owners(text: str, owner: tuple[int, int]) -> None:
    assert Owner().convert(text, None, None) == owner


@pytest.mark.parametrize(
    "text", ["", "1000", ":", "1000:", "-1:0", "root:root", "4294967296:0", "0:4294967295", "1:2:3"]
)
def test_what_is_no_owner_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Owner().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("0", 0),
        ("45", 45),
        ("90m", 5400),
        ("24h", 86400),
        (" 7 D ", 604800),
        ("2w", 1209600),
        ("1.5", 1.5),
        ("0.25 s", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "-1s", "1.5h", "1.m", ".5s", "1h30m", "h", "1y", "9999999999", "999999w"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"duration like|longer than a century"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1KiB/s", 1 << 10),
        ("100MiB/s", 100 << 20),
        ("100 M/s", 100 << 20),
        (" 2g / S ", 2 << 30),
        ("4096/s", 4096),
    ],
)
def test_rates_are_bytes_a_second(text: str, rate: int) -> None:
    assert Rate().convert(text, None, None) == rate


@pytest.mark.parametrize(
    "text",
    ["", "/s", "100", "100MiB", "0/s", "1023/s", "-1M/s", "1.5M/s", "1M/h", "1M/s/s", "9999T/s"],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Rate().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("100%", 1.0), ("0.5 %", 0.005), (" 12.25% ", 0.1225)]
)
def test_percentages_are_shares_of_one(text: str, share: float) -> None:
    assert Percent().convert(text, None, None) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "%", "5", "0.05", "0%", "0.0%", "101%", "-5%", "5%%", "1e1%", ".5%", "5.%", "1,5%"]
)
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Percent().convert(text, None, None)


@given(st.text() | st.from_regex(r"\d{0,4}\.?\d* ?%?", fullmatch=True))
def test_any_text_is_a_share_or_refused(text: str) -> None:
    with contextlib.suppress(click.BadParameter):
        assert 0 < Percent().convert(text, None, None) <= 1


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("gpu1.lan:9464", ("gpu1.lan", 9464)),
        ("0", ("127.0.0.1", 0)),
    ],
)
def test_endpoints_are_on_this_machine_unless_they_say_where(
    text: str, endpoint: tuple[str, int]
) -> None:
    assert Endpoint().convert(text, None, None) == endpoint


@pytest.mark.parametrize("text", ["", ":", "x", "1.2.3.4", "::1:80", "[::1]", "65536", "h:-1"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Endpoint().convert(text, None, None)
