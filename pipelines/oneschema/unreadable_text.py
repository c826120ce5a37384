"""Makes a text that is not JSON fit to be kept, by removing everything that may be a credential.

Such a text is kept for a person to look at. In doubt, more is removed rather than less. If it is not even clear where a
credential ends, nothing of the text is kept. Every search passes over the text once.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from pipelines.oneschema.credentials import REMOVED
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS

# If a text has more different values than this, nothing of it is kept.
_MOST_VALUES = 20
# A value shorter than this is not looked for elsewhere, because it would match ordinary words.
_SHORTEST_VALUE = 8

_NAMES = "|".join(sorted(CREDENTIAL_FIELDS))
_FIELD = re.compile(rf'"(?:{_NAMES})"\s*+:\s*+(?:"((?:[^"\\]|\\.)*+)"?|null\b)', re.IGNORECASE | re.DOTALL)
_NAME = re.compile(_NAMES, re.IGNORECASE)
# A token has letters of both cases and digits, and so has every piece of one that is long enough to matter. An event's
# uuid, a time and most words do not.
_RUN = re.compile(r"[A-Za-z0-9_+/=.\-]{20,}+")
_OPAQUE = (re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"))
# If letters are escaped more often than this, nothing of the text is kept.
_MOST_ESCAPES = 3
# Letters written as escapes, in JSON and in URLs. A name or a token may hide in them.
_ESCAPED_LETTER = re.compile(r"\\u00[2-7][0-9a-fA-F]|%[2-7][0-9a-fA-F]")


def keepable_text(text: str, secrets: Sequence[str]) -> str | None:
    """The text with REMOVED in place of JWTs, `secrets` and the values of credential fields. None if these cannot be
    told apart from the rest."""
    for _ in range(_MOST_ESCAPES):
        text = _ESCAPED_LETTER.sub(lambda found: chr(int(found.group()[-2:], 16)), text)
    if _ESCAPED_LETTER.search(text):
        return None
    values: set[str] = set()

    def without_value(found: re.Match[str]) -> str:
        values.add(found.group(1) or "")
        return f'"{REMOVED}":"{REMOVED}"'

    text = _FIELD.sub(without_value, text)
    # A credential field's name is left in some other form, so nobody knows where its value ends.
    if _NAME.search(text) or len(values) > _MOST_VALUES:
        return None
    wanted = {value for value in values if len(value) >= _SHORTEST_VALUE}.union(secrets)
    for value in sorted(wanted, key=len, reverse=True):
        text = text.replace(value, REMOVED)
    return _RUN.sub(_without_tokens, text)


def _without_tokens(run: re.Match[str]) -> str:
    return REMOVED if all(kind.search(run.group()) for kind in _OPAQUE) else run.group()


def spellings(secrets: Iterable[str]) -> list[str]:
    """Each secret as it may occur in a text: as it is, percent-encoded, in base64, and in HTTP Basic's base64."""
    found: set[str] = set()
    for secret in secrets:
        content = secret.encode("utf-8", "surrogateescape")
        encoded = [b64encode(content).decode(), b64encode(b":" + content).decode()]
        found |= {secret, quote(secret, safe="", errors="surrogateescape"), *(text.rstrip("=") for text in encoded)}
    return sorted(found - {""})
