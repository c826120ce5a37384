"""Text from outside in Dagster's Markdown."""

import string

from pipelines.messages.outside_text import without_links

# Each ASCII punctuation character as a character reference. CommonMark never takes one for markup. It is also the only
# escape that all parsers of tables read alike: they differ over a backslash before a pipe.
_REFERENCES = str.maketrans({character: f"&#{ord(character)};" for character in string.punctuation})


def markdown_text(text: str, characters: int) -> str:
    """Markdown that renders as the text, even within a table, without any markup, link, image or HTML."""
    return without_links(text, characters).translate(_REFERENCES)
