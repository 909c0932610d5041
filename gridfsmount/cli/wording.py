"""Numbers as people say them."""


def counted(number: int, what: str) -> str:
    """As in "1 content" and "2,000 contents"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
