"""What is removed as a credential, written from the definition: every way is tried, however long that takes."""

import base64
import json
import re

from pipelines.oneschema.credentials import REMOVED
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS

LETTERS = r"A-Za-z0-9_+/\-"


def without_credentials(value: Json) -> Json:
    found: set[str] = set()
    collect(value, found, is_secret=False)
    return scrub(value, sorted(found, key=lambda secret: (-len(secret), secret)), is_counts=False)


def collect(value: Json, found: set[str], *, is_secret: bool) -> None:
    if isinstance(value, str) and is_secret and len(value) >= 8:
        found.add(value)
    for element in value if isinstance(value, list) else ():
        collect(element, found, is_secret=is_secret)
    for key, element in value.items() if isinstance(value, dict) else ():
        collect(element, found, is_secret=is_secret or key.lower() in CREDENTIAL_FIELDS)


def scrub(value: Json, secrets: list[str], *, is_counts: bool) -> Json:
    if isinstance(value, list):
        return [scrub(element, secrets, is_counts=False) for element in value]
    if isinstance(value, dict):
        return {
            scrub_text(key, secrets): scrub(element, secrets, is_counts=key == "validation_error_counts")
            for key, element in value.items()
            if key.lower() not in CREDENTIAL_FIELDS or (is_counts and is_object_of_counts(element))
        }
    return scrub_text(value, secrets) if isinstance(value, str) else value


def is_object_of_counts(value: Json) -> bool:
    return isinstance(value, dict) and not any(isinstance(count, str | list | dict) for count in value.values())


def scrub_text(text: str, secrets: list[str]) -> str:
    if len(secrets) > 20 and any(secret[:8] in text for secret in secrets):
        return REMOVED
    if len(secrets) <= 20:
        for secret in secrets:
            text = text.replace(secret, REMOVED)
    return re.sub(rf"[{LETTERS}=.]+", lambda dotted: without_jwts(dotted.group()), text)


def without_jwts(dotted: str) -> str:
    """The header of a JWT may begin anywhere in a segment that is followed by two more, the second not empty."""
    kept: list[str] = []
    segments = dotted.split(".")
    while segments:
        segment = segments[0]
        if len(segments) > 2 and segments[2][:1] not in ("", "="):
            starts = [start for start in range(len(segment)) if is_header(segment[start:])]
            if starts:
                kept.append(segment[: starts[0]] + REMOVED)
                segments = segments[3:]
                continue
        kept.append(segments.pop(0))
    return ".".join(kept)


def is_header(text: str) -> bool:
    bare = text.rstrip("=")
    if len(text) - len(bare) > 2 or re.fullmatch(rf"[{LETTERS}]+", bare) is None or len(bare) % 4 == 1:
        return False
    padded = bare.replace("+", "-").replace("/", "_") + "=" * (-len(bare) % 4)
    content = base64.urlsafe_b64decode(padded).decode("latin-1")
    if re.match(r"\{[\s\"]", content) is None:
        return False
    try:
        return isinstance(json.loads(content, strict=False, parse_int=str, parse_float=str), dict)
    except ValueError:
        return False
