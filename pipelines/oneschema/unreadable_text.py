"""Makes a text that is not JSON fit to be kept, by removing everything that may be a credential.

Such a text is kept for a person to look at. In doubt, more is removed rather than less. If it is not even clear where a
credential ends, nothing of the text is kept. Every search passes over the text once.
"""

import re

from pipelines.oneschema.credentials import REMOVED, text_without_credentials
from pipelines.oneschema.known_secrets import ESCAPED_LETTER, UUID, KnownSecrets, unescaped
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS, CREDENTIAL_FIELDS_BELOW

# If a text has more different values than this, nothing of it is kept.
_MOST_VALUES = 20

_NAMES = "|".join(sorted(CREDENTIAL_FIELDS))
_FIELD = re.compile(rf'"(?:{_NAMES})"\s*+:\s*+(?:"((?:[^"\\]|\\.)*+)"?|null\b)', re.IGNORECASE | re.DOTALL)
_NAME = re.compile("|".join(sorted({*CREDENTIAL_FIELDS, *CREDENTIAL_FIELDS_BELOW})), re.IGNORECASE)
# Any uuid may be the token of an embed, except one that identifies an event.
_UUID = re.compile(rf"(?<!event-){UUID}")
# A token has letters of both cases and digits, and so has every piece of one that is long enough to matter. An event's
# uuid, a time and most words do not.
_RUN = re.compile(r"[A-Za-z0-9_+/=.\-]{20,}+")
_OPAQUE = (re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"))


def keepable_text(text: str, known: KnownSecrets) -> str | None:
    """The text with REMOVED in place of JWTs, known secrets, uuids and the values of credential fields. None if these
    cannot be told apart from the rest."""
    text = unescaped(text)
    if ESCAPED_LETTER.search(text):
        return None
    values: set[str] = set()

    def without_value(found: re.Match[str]) -> str:
        values.add(found.group(1) or "")
        return f'"{REMOVED}":"{REMOVED}"'

    text = _FIELD.sub(without_value, text)
    # A credential field's name is left in some other form, so nobody knows where its value ends.
    if _NAME.search(text) or len(values) > _MOST_VALUES:
        return None
    return _RUN.sub(_without_tokens, _UUID.sub(REMOVED, text_without_credentials(text, known, values)))


def _without_tokens(run: re.Match[str]) -> str:
    return REMOVED if all(kind.search(run.group()) for kind in _OPAQUE) else run.group()
