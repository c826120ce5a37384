"""One segment of a JWT: base64url without padding, holding a JSON object."""

import base64
import binascii
import re

from pipelines.oneschema.json_text import Json, loads_carefully

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_TO_URL_ALPHABET = str.maketrans("+/", "-_")


def segment_bytes(segment: str) -> bytes | None:
    """The bytes of a base64url segment. None if it is not one. Padding and the plain alphabet's `+/` are accepted."""
    segment = segment.translate(_TO_URL_ALPHABET)
    if _SEGMENT.fullmatch(segment) is None:
        return None
    bare = segment.rstrip("=")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return None


def json_object(segment: str) -> dict[str, Json] | None:
    """The JSON object of a segment, with its numbers as JsonText. None if it does not hold one."""
    content = segment_bytes(segment)
    if content is None:
        return None
    try:
        value = loads_carefully(content, keep_numbers=True)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
