"""Credentials out of everything that is about to be written: by their field names, and by their shape.

A field of `CREDENTIAL_FIELDS` goes whole, whatever the case of its name; a text that has the shape of a JWT, and any
repetition of a removed value, becomes `REMOVED`. So an event without its credentials is the same for every token that
it was fetched with, which is what its digest needs.
"""

import re
from typing import Any

from pipelines.oneschema.jwt_segments import json_object
from pipelines.vocabulary import CREDENTIAL_FIELDS

REMOVED = "<credential removed>"

# A removed value shorter than this is not looked for elsewhere: it would hit ordinary words.
_SHORTEST_SECRET = 8

# base64url of `{"`, or of `{` and white space, and three segments. The header is decoded before anything is removed.
_JWT_PATTERN = r"(e[yw][A-Za-z0-9_+/-]{2,}={0,2})\.[A-Za-z0-9_+/-]*={0,2}\.[A-Za-z0-9_+/-]+={0,2}"
_JWT = re.compile(_JWT_PATTERN)
_JWT_IN_BYTES = re.compile(_JWT_PATTERN.encode())
_QUOTED_FIELDS = tuple(f'"{field}"'.encode() for field in sorted(CREDENTIAL_FIELDS))


def may_hold_credentials(json_text: bytes) -> bool:
    """A cheap look at a JSON text: False means that `without_credentials` would change nothing."""
    lower = json_text.lower()
    for field in _QUOTED_FIELDS:
        if field in lower:
            return True
    return (b"ey" in json_text or b"ew" in json_text) and _JWT_IN_BYTES.search(json_text) is not None


def split_credentials(event: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The event without the credential fields of its top level, and their values.

    What is left has to be looked at all the same; this is for the webhook's `embed_jwt`, which every event of it has.
    """
    kept = {key: value for key, value in event.items() if key not in CREDENTIAL_FIELDS}
    return kept, [value for key, value in event.items() if key in CREDENTIAL_FIELDS]


def without_credentials(value: Any) -> Any:
    """A copy of a decoded value without credentials at any depth; the value may nest some hundred levels."""
    secrets: set[str] = set()
    _collect(value, secrets)
    return _scrub(value, sorted(secrets, key=lambda secret: (-len(secret), secret)), in_counts=False)


def _is_credential(key: str, value: Any, *, in_counts: bool) -> bool:
    if key.lower() not in CREDENTIAL_FIELDS:
        return False
    # A template column may be called `token`; below validation_error_counts its value is an object of counts.
    return not (
        in_counts and isinstance(value, dict) and not any(isinstance(v, str | dict | list) for v in value.values())
    )


def _collect(value: Any, secrets: set[str], *, is_secret: bool = False) -> None:
    if isinstance(value, str):
        if is_secret and len(value) >= _SHORTEST_SECRET:
            secrets.add(value)
    elif isinstance(value, list):
        for element in value:
            _collect(element, secrets, is_secret=is_secret)
    elif isinstance(value, dict):
        for key, element in value.items():
            _collect(element, secrets, is_secret=is_secret or key.lower() in CREDENTIAL_FIELDS)


def _scrub(value: Any, secrets: list[str], *, in_counts: bool) -> Any:
    if isinstance(value, str):
        return _scrub_text(value, secrets)
    if isinstance(value, list):
        return [_scrub(element, secrets, in_counts=False) for element in value]
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for key, element in value.items():
            if not _is_credential(key, element, in_counts=in_counts):
                kept[_scrub_text(key, secrets)] = _scrub(element, secrets, in_counts=key == "validation_error_counts")
        return kept
    return value


def _scrub_text(text: str, secrets: list[str]) -> str:
    # str(): a number kept as JsonText has no credential in it and must stay one.
    if not text or (text[0] in "-0123456789" and type(text) is not str):
        return text
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REMOVED)
    return _JWT.sub(_remove_jwt, text)


def _remove_jwt(found: re.Match[str]) -> str:
    return found.group() if json_object(found.group(1)) is None else REMOVED
