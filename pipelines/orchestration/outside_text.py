"""Makes text from outside harmless where it is shown: anyone can choose a claim, a template, a column key or a code.

Each target has one function. Its result is shown as the original text, on one line, cut to a length.
"""

import re
import string
import unicodedata

# Control characters, format characters (which hide text, or turn it around), halves of a pair, line and paragraph ends.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Each ASCII punctuation character as a character reference. CommonMark never takes one for markup. It is also the only
# escape that all parsers of tables read alike: they differ over a backslash before a pipe.
_REFERENCES = str.maketrans({character: f"&#{ord(character)};" for character in string.punctuation})

# Where GitHub's dialect, which Dagster uses, finds a link in plain text, even in escaped text.
_BEFORE_LINK = re.compile(r"(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)

# A zero width space breaks such a link and is invisible.
LINK_BREAK = "\u200b"


def one_line(text: str, characters: int) -> str:
    """The text on one line of at most `characters`. Invisible characters become spaces."""
    seen = "".join(" " if unicodedata.category(character) in _UNSHOWN else character for character in text)
    shown = " ".join(seen.split())
    return shown if len(shown) <= characters else f"{shown[: characters - 1]}…"


def markdown_text(text: str, characters: int) -> str:
    """Markdown that renders as the text, even within a table, without any markup, link, image or HTML."""
    return _BEFORE_LINK.sub(LINK_BREAK, one_line(text, characters)).translate(_REFERENCES)


def slack_text(text: str, characters: int) -> str:
    """Slack markup that shows the text as it is: a code span, in which Slack reads neither formatting nor emoji.

    Slack has no escape for a backtick, so it becomes an apostrophe.
    """
    shown = one_line(text, characters).replace("`", "'") or "(empty)"
    return f"`{shown.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"
