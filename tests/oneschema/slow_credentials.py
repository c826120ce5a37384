"""What is removed as a credential, written from the definition: every way is tried, however long that takes."""

import base64
import json
import re

from pipelines.oneschema.credentials import REMOVED
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.vocabulary import CREDENTIAL_FIELDS

LETTERS = r"A-Za-z0-9_+/\-"
UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def without_credentials(value: Json, known: str = "", embed_token: str = "") -> Json:
    found: set[str] = set()
    collect(value, found, is_secret=False)
    return Slow(found, known, embed_token).scrub(value)


def collect(value: Json, found: set[str], *, is_secret: bool) -> None:
    if isinstance(value, str) and is_secret and len(value) >= 8:
        found.add(value)
    for element in value if isinstance(value, list) else ():
        collect(element, found, is_secret=is_secret)
    for key, element in value.items() if isinstance(value, dict) else ():
        collect(element, found, is_secret=is_secret or key.lower() in CREDENTIAL_FIELDS)


def is_object_of_counts(value: Json) -> bool:
    return isinstance(value, dict) and not any(isinstance(count, str | list | dict) for count in value.values())


class Slow:
    def __init__(self, found: set[str], known: str, embed_token: str) -> None:
        self.beginnings = {secret[:8] for secret in found} if len(found) > 20 else set[str]()
        exact = ({known} - {""}) | (found if len(found) <= 20 else set[str]())
        self.secrets = sorted(exact, key=lambda secret: (-len(secret), secret))
        self.embed_token = embed_token

    def scrub(self, value: Json, *, is_counts: bool = False, is_named: bool = False) -> Json:
        if isinstance(value, list):
            return [self.scrub(element, is_named=is_named) for element in value]
        if isinstance(value, dict):
            return {
                self.text(key, is_named): self.scrub(
                    element, is_counts=key == "validation_error_counts", is_named=is_named or "token" in key.lower()
                )
                for key, element in value.items()
                if key.lower() not in CREDENTIAL_FIELDS or (is_counts and is_object_of_counts(element))
            }
        return self.text(value, is_named) if isinstance(value, str) else value

    def text(self, text: str, is_named: bool) -> str:
        for without in (self.plain, self.decoded):
            text = without(text, is_named)
            escaped = text
            for _ in range(3):
                escaped = re.sub(r"(?:%|\\+u00)([2-7][0-9a-fA-F])", lambda found: chr(int(found[1], 16)), escaped)
            found = without(escaped, is_named)
            text = text if found == escaped else found
        return text

    def decoded(self, text: str, is_named: bool) -> str:
        return re.sub(rf"[{LETTERS}]{{11,}}={{0,2}}", lambda run: self.run(run[0], is_named), text)

    def run(self, run: str, is_named: bool) -> str:
        """A run of base64's letters may begin anywhere in what looks like one."""
        letters = run.rstrip("=").replace("+", "-").replace("/", "_")
        for start in range(len(letters)):
            piece = letters[start:]
            if len(piece) % 4 == 1:
                piece = piece[:-1]
            said = base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)).decode("utf-8", "replace")
            if said != (self.plain(said, is_named) if len(run) >= 46 else self.without_secrets(said)):
                return REMOVED
        return run

    def without_secrets(self, text: str) -> str:
        if any(beginning in text for beginning in self.beginnings):
            return REMOVED
        for secret in self.secrets:
            text = text.replace(secret, REMOVED)
        return text

    def plain(self, text: str, is_named: bool) -> str:
        text = self.without_secrets(text)
        behind = r"(token[\w\-]{0,20}[\"'\\\]]{0,3}\s{0,3}[=:/]\s{0,3}[\"'\\]{0,3})"
        text = re.sub(behind + UUID, lambda found: found[1] + REMOVED, text, flags=re.IGNORECASE)
        text = re.sub(UUID, lambda uuid: REMOVED if is_named or self.is_embeds(uuid[0]) else uuid[0], text)
        return re.sub(rf"[{LETTERS}=.]+", lambda dotted: without_jwts(dotted[0]), text)

    def is_embeds(self, uuid: str) -> bool:
        return uuid.lower() == self.embed_token.lower()


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
