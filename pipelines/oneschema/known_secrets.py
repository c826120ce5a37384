"""Secrets in whatever spelling a vendor may echo them: as they are, escaped, in base64, and uuids by their fingerprint.

| spelling | how it is found |
| --- | --- |
| as it is | as a piece of a text |
| percent-encoded, or with JSON's `\\u00..` escapes | as it is, once the text is unescaped, up to three times over |
| base64, of either alphabet, alone or within a longer text | as it is, once each run of base64's letters is decoded |

Not found: base64 of base64, and base64 that is broken over lines.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import quote

import orjson

# A secret shorter than this is not looked for: it would hit ordinary words.
SHORTEST_SECRET = 8

# Letters that are written otherwise than as themselves, in JSON and in URLs: a name or a token may hide in them. JSON
# within JSON has its backslashes doubled.
ESCAPED_LETTER = re.compile(r"(?<!\\)\\++u00[2-7][0-9a-fA-F]|%[2-7][0-9a-fA-F]")
MOST_ESCAPES = 3
_ESCAPED_LETTER_BYTES = re.compile(ESCAPED_LETTER.pattern.encode())

UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HEX_TO_ZERO = bytes.maketrans(b"123456789abcdefABCDEF", b"0" * 21)
_UUID_SHAPE = b"00000000-0000-0000-0000-000000000000"
_EVENT_UUID = b'"uuid":"event-'

_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")
# What base64 needs for the shortest secret, and for a uuid. A JWT needs more than that.
SHORTEST_ENCODED = 11
SHORTEST_ENCODED_UUID = 46
_LETTERS_TO_A = bytes.maketrans(b"BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_", b"A" * 65)
_LONG_RUN = b"A" * SHORTEST_ENCODED_UUID


class KnownSecrets:
    """Secrets that are known before an event comes: those of the settings. Its repr shows none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Those that are too short to be looked for are left out."""
        secrets = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        # Escaped letters of ASCII are unescaped before anything is looked for.
        foreign = {secret for secret in secrets if not secret.isascii()}
        self.texts = secrets | {quote(secret, safe="", errors="surrogateescape") for secret in foreign}
        found = sorted({mark for secret in self.texts for mark in marks(secret)})
        # One search for all of them: every event that lands is looked at.
        self._marks = re.compile(b"|".join(map(re.escape, found))) if found else None

    def may_stand_in(self, json_text: bytes) -> bool:
        """A cheap look at a JSON text without escaped letters."""
        return self._marks is not None and self._marks.search(json_text.translate(_TO_URL_ALPHABET)) is not None


NO_SECRETS = KnownSecrets(())


def marks(secret: str) -> list[bytes]:
    """What a JSON text holds, `+/` in it written `-_`, where it holds a secret as it is or in base64."""
    content = secret.encode("utf-8", "surrogateescape")
    found = [urlsafe_b64encode(b"\0" * before + content) for before in range(3)]
    # Without the letters that depend on the bytes before and behind.
    whole = [text[(0, 2, 3)[before] : (before + len(content)) * 8 // 6] for before, text in enumerate(found)]
    try:
        return [orjson.dumps(secret)[1:-1].translate(_TO_URL_ALPHABET), *whole]
    except TypeError:
        # Bytes that are not UTF-8: no JSON text holds them as they are.
        return whole


def may_repeat(secret: str, json_text: bytes) -> bool:
    """A cheap look for one secret in a JSON text without escaped letters."""
    text = json_text.translate(_TO_URL_ALPHABET)
    return any(mark in text for mark in marks(secret))


def may_hide(json_text: bytes) -> bool:
    """Whether a JSON text has escaped letters, or a run of letters that a uuid or a JWT may be encoded in."""
    if _LONG_RUN in json_text.translate(_LETTERS_TO_A):
        return True
    return (b"%" in json_text or b"\\u" in json_text) and _ESCAPED_LETTER_BYTES.search(json_text) is not None


def unescaped(text: str) -> str:
    """The text with escaped letters as themselves."""
    for _ in range(MOST_ESCAPES):
        text = ESCAPED_LETTER.sub(lambda found: chr(int(found.group()[-2:], 16)), text)
    return text


def decodings(run: str) -> Iterable[str]:
    """What a run of base64's letters says, begun at each of its first four: letters before it may be of base64, too."""
    letters = run.rstrip("=").replace("+", "-").replace("/", "_")
    for start in range(4):
        piece = letters[start:]
        if len(piece) % 4 == 1:
            piece = piece[:-1]
        yield urlsafe_b64decode(piece + "=" * (-len(piece) % 4)).decode("utf-8", "replace")


def uuids_in(json_text: bytes) -> Iterable[tuple[str, bool]]:
    """The texts of a uuid's shape in a compact JSON text, and whether each is an event's own."""
    shapes = json_text.translate(_HEX_TO_ZERO)
    at = shapes.find(_UUID_SHAPE)
    while at >= 0:
        end = at + len(_UUID_SHAPE)
        yield json_text[at:end].decode(), json_text.endswith(_EVENT_UUID, 0, at)
        at = shapes.find(_UUID_SHAPE, end)


def uuid_fingerprint(text: str) -> str:
    """16 hex digits by which a uuid is known again. Truncated: a random uuid has twice as many bits, so that nobody
    finds it from them."""
    return hashlib.blake2b(text.lower().encode(), digest_size=8, person=b"embed-uuid").hexdigest()


def fingerprint_of_uuid(value: object) -> str | None:
    """The fingerprint of a uuid; None for anything else, which could be guessed."""
    return uuid_fingerprint(value) if isinstance(value, str) and re.fullmatch(UUID, value) else None
