"""Text from outside, made harmless where it is shown: a claim, a template, a column key or an error code is anyone's.

Each target has one function. What they return is shown as the text that came in, on one line, cut to a length.
"""

import re
import string
import unicodedata

# Control characters, format characters (which hide text, or turn it around), halves of a pair, line and paragraph ends.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Each ASCII punctuation character as a character reference. CommonMark never takes one for markup, and no other
# escape is read alike by every parser of tables: they differ over a backslash before a pipe.
_REFERENCES = str.maketrans({character: f"&#{ord(character)};" for character in string.punctuation})

# Where GitHub's dialect, which Dagster uses, finds a link in plain text, also in text that was escaped.
_BEFORE_LINK = re.compile(r"(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)

# Zero width space: it breaks such a link and is not seen.
LINK_BREAK = "\u200b"


def one_line(text: str, characters: int) -> str:
    """The text on one line, at most so many characters long; what cannot be seen is a space."""
    seen = "".join(" " if unicodedata.category(character) in _UNSHOWN else character for character in text)
    shown = " ".join(seen.split())
    return shown if len(shown) <= characters else f"{shown[: characters - 1]}…"


def markdown_text(text: str, characters: int) -> str:
    """Markdown, also within a table, that renders as the text: no markup, link, image or HTML comes of it."""
    return _BEFORE_LINK.sub(LINK_BREAK, one_line(text, characters)).translate(_REFERENCES)


def slack_text(text: str, characters: int) -> str:
    """Slack's markup that shows the text as it is: a code span, in which neither formatting nor emoji are read.

    Slack has no escape for a backtick, so it becomes an apostrophe.
    """
    shown = one_line(text, characters).replace("`", "'") or "(empty)"
    return f"`{shown.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"
