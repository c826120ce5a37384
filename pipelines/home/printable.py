"""Text from outside, for a terminal or a line of a log."""


def printable(text: str, *, keeps: str = "") -> str:
    """The text with escapes in place of characters that a terminal would obey or not show, except those of `keeps`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keeps else c.encode("unicode_escape").decode() for c in text)
