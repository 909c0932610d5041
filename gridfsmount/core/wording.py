"""Numbers, times and names as people read them."""

from typing import Final

_STEPS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def counted(number: int, what: str) -> str:
    """As in "1 content" and "2,000 contents"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def sized(number: int) -> str:
    """Bytes, as in "0 B" and "1.5 GiB"."""
    size, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:,.0f} B" if units[0] == "B" else f"{size:,.1f} {units[0]}"


def age(nanoseconds: int) -> str:
    """A span of time in its largest unit, as in "3 hours"."""
    seconds = max(nanoseconds, 0) // 10**9
    for step, unit in _STEPS:
        if seconds >= step:
            return counted(seconds // step, unit)
    return "0 seconds"


def printable(text: str) -> str:
    """Text whose control characters do nothing, and whose bytes that are no text can be seen."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a local name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
