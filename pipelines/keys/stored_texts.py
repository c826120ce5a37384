"""How an encrypted claim is written: a text in the place of the value, and how it is told from what a customer sent.

    encrypted:<keyring>:<key id>:<nonce, ciphertext and tag in base64>

Without the last part it stands for a value of an erased subject. The id of a keyring is random, and only who reads raw
can know it. So an ordinary text that begins in this way was made to be taken for an encrypted one. It is stored with a
prefix, and read without it:

    encrypted:<keyring>:text:<the text>
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

MARK = "encrypted:"

KEYRING = "[0-9a-f]{16}"
KEY_ID = "[A-Za-z0-9_-]{16}"
BODY = "[A-Za-z0-9+/]*"

# No key id has so few characters.
_TEXT = "text"
_ENCRYPTED = re.compile(rf"{MARK}({KEYRING}):({KEY_ID}):({BODY})")
_GUARDED = re.compile(rf"{MARK}({KEYRING}):{_TEXT}:")
_FOREIGN = re.compile(rf"{MARK}({KEYRING})")


@dataclass(frozen=True)
class Encrypted:
    """An encrypted value. Its `body` is empty where its subject had been erased when it came."""

    keyring: str
    key_id: str
    body: str

    def __str__(self) -> str:
        return f"{MARK}{self.keyring}:{self.key_id}:{self.body}"


def read(text: str, keyrings: Collection[str]) -> Encrypted | str:
    """What a stored text says: an encrypted value of one of these keyrings, or the text that it stands for."""
    if not text.startswith(MARK):
        return text
    if (found := _ENCRYPTED.fullmatch(text)) and found[1] in keyrings:
        return Encrypted(*found.groups())
    if (found := _GUARDED.match(text)) and found[1] in keyrings:
        return text[found.end() :]
    return text


def guarded(text: str, keyrings: Collection[str]) -> str:
    """An ordinary text as it is stored, so that `read` gives it back, whatever it looks like."""
    found = _FOREIGN.match(text)
    return f"{MARK}{found[1]}:{_TEXT}:{text}" if found and found[1] in keyrings else text
