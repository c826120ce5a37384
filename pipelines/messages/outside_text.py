"""Makes text from outside harmless where it is shown: anyone can choose a claim, a template, a column key or a code.

Each target has one function. Its result is shown as the original text, on one line, cut to a length.
"""

import re
import unicodedata

# Control characters, format characters (which hide text, or turn it around), halves of a pair, line and paragraph ends.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Where GitHub's dialect, which Dagster uses, finds a link in plain text, even in escaped text. So do mail programs.
_BEFORE_LINK = re.compile(r"(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)

# A zero width space breaks such a link and is invisible.
LINK_BREAK = "\u200b"


def one_line(text: str, characters: int) -> str:
    """The text on one line of at most `characters`. Invisible characters become spaces."""
    seen = "".join(" " if unicodedata.category(character) in _UNSHOWN else character for character in text)
    shown = " ".join(seen.split())
    return shown if len(shown) <= characters else f"{shown[: characters - 1]}…"


def without_links(text: str, characters: int) -> str:
    """The text on one line, in which no program finds an address to link to. In a plain text mail it needs no more."""
    return _BEFORE_LINK.sub(LINK_BREAK, one_line(text, characters))


def slack_text(text: str, characters: int) -> str:
    """Slack markup that shows the text as it is: a code span, in which Slack reads neither formatting nor emoji.

    Slack has no escape for a backtick, so it becomes an apostrophe.
    """
    shown = one_line(text, characters).replace("`", "'") or "(empty)"
    return f"`{slack_escaped(shown)}`"


def slack_escaped(text: str) -> str:
    """Slack markup in which none of the text's characters begins a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
