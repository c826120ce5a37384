"""The flattening once more, slow and obvious: plain Python, a row at a time, written from docs/architecture.md.

It shares no code with the fast path: it starts at what was delivered, not at raw, and has its own way to read a time, a
token and a claim. Only a type's name is imported, and the digests are taken from landing, as names for the deliveries.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from pipelines.oneschema.json_text import Json

KNOWN_FIELDS = {
    "uuid",
    "id",
    "embed_id",
    "event_type",
    "trigger_type",
    "created_at",
    "has_snapshot",
    "data",
    "template_key",
    "environment_name",
}
CREDENTIALS = {"token", "user_jwt", "embed_jwt"}
UNREADABLE = object()
HASH_KEY = "key of hashed claims"


@dataclass(frozen=True)
class Delivery:
    """What arrived: an event, and what was known of its embed."""

    event: Json
    token: Json
    embed_id: int | None
    template_key: str | None
    environment_name: str | None
    source: Literal["api", "webhook"]
    fetched_at: datetime
    digest: str = ""


@dataclass
class Lake:
    """What must come out. Rows of events are by uuid; `data`, `extra` and `claims` are decoded JSON."""

    events: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    errors: set[tuple[str, str, str, int]] = field(default_factory=set[tuple[str, str, str, int]])
    rejected: list[str] = field(default_factory=list[str])
    bad_fields: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    merged_count: int = 0
    conflict_count: int = 0
    claim_columns: dict[str, str] = field(default_factory=dict[str, str])
    catalogue: dict[str, tuple[str, int | None, int]] = field(default_factory=dict[str, tuple[str, int | None, int]])
    """By claim path: JSON types, events that have it (None where it is not known), dates that do not list it."""
    unlisted: dict[str, int] = field(default_factory=dict[str, int])
    """By event date: claim paths that it does not list."""


class Number(str):
    """The digits of a JSON number."""


def decode(text: str) -> Json:
    return json.loads(text, parse_int=Number, parse_float=Number)


def read_integer(value: Json) -> Any:
    if isinstance(value, str) and re.fullmatch("[+-]?[0-9]+", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer() and -(2**53) <= value <= 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return UNREADABLE
    return value if -(2**63) <= value < 2**63 else UNREADABLE


def read_created_at(value: Json) -> Any:
    """A naive UTC datetime, exact to the microsecond."""
    if isinstance(value, str):
        if re.fullmatch(r"[+-]?[0-9]{1,19}(\.[0-9]+)?", value):
            value = float(value) if "." in value else int(value)
        else:
            return read_iso(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNREADABLE
    number = Decimal(value)
    seconds = number.scaleb(-3) if 10**12 <= number <= 10**14 else number
    return moment(seconds)


def read_iso(text: str) -> Any:
    text = re.sub(r" ?(UTC|[Zz])$", "+0000", text)
    text = re.sub(r" (?=[+-]\d{2}:?\d{2}$)", "", text)
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[ Tt](\d\d:\d\d)(:\d\d)?(\.\d+)?([+-]\d\d:?\d\d)", text, re.ASCII)
    if found is None:
        return UNREADABLE
    date, minutes, seconds, fraction, zone = found.groups()
    try:
        whole = datetime.strptime(f"{date} {minutes}{seconds or ':00'} {zone}", "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return UNREADABLE
    since = whole - datetime(1970, 1, 1, tzinfo=UTC)
    return moment(Decimal(since.days * 86400 + since.seconds) + Decimal(f"0{fraction or '.0'}"))


def moment(seconds: Decimal) -> Any:
    if not -(10**12) < seconds < 10**12:
        return UNREADABLE
    microseconds = int((seconds * 10**6).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    days, rest = divmod(microseconds, 86400 * 10**6)
    ordinal = datetime(1970, 1, 1).toordinal() + days
    if not 1 <= ordinal <= datetime.max.toordinal():
        return UNREADABLE
    day = datetime.fromordinal(ordinal)
    hour, rest = divmod(rest, 3600 * 10**6)
    minute, rest = divmod(rest, 60 * 10**6)
    return day.replace(hour=hour, minute=minute, second=rest // 10**6, microsecond=rest % 10**6)


def read_text(value: Json) -> Any:
    return value if isinstance(value, str) else UNREADABLE


def read_name(value: Json) -> Any:
    return value if isinstance(value, str) and value else UNREADABLE


def read_boolean(value: Json) -> Any:
    return value if isinstance(value, bool) else UNREADABLE


def read_object(value: Json) -> Any:
    return value if isinstance(value, dict) else UNREADABLE


def read_token(token: Json, secrets: Mapping[str, str]) -> tuple[dict[str, Json] | None, str]:
    """Claims (decoded, numbers as they were written) and status."""
    if token is None or token == "":
        return None, "missing"
    if not isinstance(token, str) or token.count(".") != 2:
        return None, "malformed"
    header_text, payload_text, signature_text = token.split(".")
    try:
        header: Json = json.loads(from_base64(header_text))
        payload = decode(from_base64(payload_text).decode())
    except ValueError:
        return None, "malformed"
    if not isinstance(header, dict) or not isinstance(payload, dict):
        return None, "malformed"
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or isinstance(issuer, Number) or issuer not in secrets:
        return payload, "unverified"
    expected = hmac.new(secrets[issuer].encode(), f"{header_text}.{payload_text}".encode(), hashlib.sha256).digest()
    is_signed = header.get("alg") == "HS256" and to_base64(expected) == signature_text
    return payload, "verified" if is_signed else "invalid_signature"


def from_base64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def without_credentials(value: Json) -> Any:
    if isinstance(value, dict):
        return {key: without_credentials(v) for key, v in value.items() if key.lower() not in CREDENTIALS}
    return [without_credentials(element) for element in value] if isinstance(value, list) else value


def apply_policy(value: Json, policy: Mapping[str, str], key: str, paths: tuple[str, ...] = ()) -> Any:
    """What the claim policy leaves of a claim; UNREADABLE for nothing. `paths` are its own path and those above."""
    action = action_of(paths, policy)
    if isinstance(value, dict):
        inner = {name: (*paths, f"{paths[-1]}.{name}" if paths else name) for name in value}
        left = {name: apply_policy(element, policy, key, inner[name]) for name, element in value.items()}
        kept = {name: element for name, element in left.items() if element is not UNREADABLE}
        return UNREADABLE if action == "drop" and paths and not kept else kept
    if isinstance(value, list):
        elements = [apply_policy(element, policy, key, paths) for element in value]
        kept = [element for element in elements if element is not UNREADABLE]
        return UNREADABLE if action == "drop" and not kept else kept
    if action == "drop":
        return UNREADABLE
    if action == "keep" or value is None:
        return value
    text = value if isinstance(value, str) else str(value).lower()
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def action_of(paths: tuple[str, ...], policy: Mapping[str, str]) -> str:
    """Of the patterns that fit, the one with most letters that are not wildcards, then the stricter one."""
    fitting = [
        (len(pattern.replace("*", "")), ("keep", "hash", "drop").index(action))
        for pattern, action in policy.items()
        if any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path, re.DOTALL) for path in paths)
    ]
    return ("keep", "hash", "drop")[max(fitting)[1]] if fitting else "keep"


def read_delivery(
    delivery: Delivery, secrets: Mapping[str, str], policy: Mapping[str, str], pair_limit: int, lake: Lake
) -> dict[str, Any] | None:
    """The row of one delivery, None when it is rejected. Bad fields are noted."""
    delivered = delivery.event
    if not isinstance(delivered, dict):
        lake.rejected.append(delivery.digest)
        return None
    own_token = delivered.get("embed_jwt")
    event: dict[str, Json] = without_credentials(delivered)
    extra = {key: value for key, value in event.items() if key not in KNOWN_FIELDS}
    event = {key: value for key, value in event.items() if value is not None}
    fallbacks: dict[str, Json] = {
        "embed_id": delivery.embed_id,
        "template_key": delivery.template_key,
        "environment_name": delivery.environment_name,
    }
    bad: list[str] = []

    def take(name: str, read: Callable[[Json], Any]) -> Any:
        value = event.get(name, fallbacks.get(name))
        found = None if value is None else read(value)
        if found is UNREADABLE:
            bad.append(name)
            return None
        return found

    claims, status = read_token(delivery.token if own_token is None else own_token, secrets)
    row: dict[str, Any] = {
        "event_uuid": take("uuid", read_name),
        "event_id": take("id", read_integer),
        "embed_id": take("embed_id", read_integer),
        "event_type": take("event_type", read_name),
        "trigger_type": take("trigger_type", read_text),
        "occurred_at": take("created_at", read_created_at),
        "environment_name": take("environment_name", read_text),
        "template_key": take("template_key", read_text),
        "has_snapshot": take("has_snapshot", read_boolean),
        "data": take("data", read_object),
        "extra": extra or None,
        "claims": None if claims is None else apply_policy(without_credentials(claims), policy, HASH_KEY),
        "jwt_status": status,
    }
    if any(row[name] is None for name in ("event_uuid", "embed_id", "event_type", "occurred_at")):
        lake.rejected.append(delivery.digest)
        return None
    data: dict[str, Json] = row["data"] or {}
    for name in ("operation", "import_type"):
        value = data.get(name)
        row[name] = value if isinstance(value, str) else None
        if value is not None and not isinstance(value, str):
            bad.append(f"data.{name}")
    bad_before = len(bad)
    row["counts"] = read_counts(data.get("validation_error_counts"), pair_limit, bad)
    row["has_unreadable_error_counts"] = len(bad) > bad_before
    lake.bad_fields += [(row["event_uuid"], name, delivery.digest) for name in bad]
    return row


def read_counts(counts: Json, pair_limit: int, bad: list[str]) -> dict[tuple[str, str], int] | None:
    name = "data.validation_error_counts"
    if not isinstance(counts, dict):
        if counts is not None:
            bad.append(name)
        return None
    # A column without codes, or with something else, counts as a pair.
    if sum(len(codes) or 1 if isinstance(codes, dict) else 1 for codes in counts.values()) > pair_limit:
        bad.append(name)
        return None
    found: dict[tuple[str, str], int] = {}
    for column_key, codes in counts.items():
        if not isinstance(codes, dict):
            bad.append(f"{name}.{column_key}")
            continue
        for code, value in codes.items():
            count = read_integer(value)
            if count is UNREADABLE or count < 0:
                bad.append(f"{name}.{column_key}.{code}")
            else:
                found[column_key, code] = count
    return found


ALONE = (
    "event_id",
    "embed_id",
    "event_type",
    "trigger_type",
    "occurred_at",
    "environment_name",
    "template_key",
    "has_snapshot",
    "extra",
)


def told_apart(value: Json | datetime) -> Any:
    """A value in which the number 1.50 is not the text "1.50"."""
    if isinstance(value, dict):
        return {key: told_apart(element) for key, element in value.items()}
    if isinstance(value, list):
        return [told_apart(element) for element in value]
    return ["number", value] if isinstance(value, Number) else value


def merge(found: Sequence[tuple[dict[str, Any], Delivery]], lake: Lake) -> dict[str, Any]:
    """One row of the deliveries of one uuid."""
    in_order = sorted(found, key=lambda pair: pair[1].digest)
    in_order = sorted(in_order, key=lambda pair: pair[1].fetched_at, reverse=True)
    in_order = sorted(in_order, key=lambda pair: pair[1].source == "webhook")
    rows = [row for row, _ in in_order]

    def first(name: str) -> Any:
        return next((row[name] for row in rows if row[name] is not None), None)

    merged = {name: first(name) for name in ("event_uuid", *ALONE)}
    with_data = next((row for row in rows if row["data"] is not None), rows[0])
    for name in ("data", "operation", "import_type", "counts", "has_unreadable_error_counts"):
        merged[name] = with_data[name]
    with_token = [row for row in rows if row["claims"] is not None]
    with_token += [row for row in rows if row["jwt_status"] != "missing"]
    for name in ("claims", "jwt_status"):
        merged[name] = (with_token or rows)[0][name]
    sources = {delivery.source for _, delivery in found}
    merged["source"] = "both" if len(sources) == 2 else sources.pop()
    merged["landed_at"] = min(delivery.fetched_at for _, delivery in found)
    lake.conflict_count += any(
        len({json.dumps(told_apart(row[name]), sort_keys=True, default=str) for row in rows if row[name] is not None})
        > 1
        for name in (*ALONE, "data", "claims")
    )
    return merged


def paths_of(payload: dict[str, Json], before: str = "") -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] = []
    for key, value in payload.items():
        path = before + key.replace("\\", "\\\\").replace(".", "\\.")
        found.append((path, value))
        if isinstance(value, dict):
            found += paths_of(value, f"{path}.")
    return found


def type_of(value: Json) -> str:
    if isinstance(value, Number):
        return "number"
    if value is None:
        return "null"
    names: dict[type, str] = {str: "string", bool: "boolean", dict: "object", list: "array"}
    return names[type(value)]


def fold(path: str) -> str:
    folded = ""
    position = 0
    while position < len(path):
        character = path[position]
        if character == "\\":
            position += 1
            character = path[position]
        elif character == ".":
            folded += "__"
            position += 1
            continue
        folded += re.sub("[^a-z0-9_]", "_", character.lower(), flags=re.DOTALL)
        position += 1
    return folded


@dataclass
class Path:
    """What is known of a claim path, on a date or over all."""

    types: set[str] = field(default_factory=set[str])
    first_at: datetime = datetime.max
    event_count: int = 0

    @property
    def is_scalar(self) -> bool:
        return bool(self.types & {"string", "number", "boolean"})

    def add(self, types: set[str], first_at: datetime, event_count: int) -> None:
        self.types |= types
        if first_at >= datetime(2020, 1, 1):
            self.first_at = min(self.first_at, first_at)
        self.event_count += event_count


def first_of(paths: Mapping[str, Path], length: int) -> list[str]:
    return sorted(paths, key=lambda path: (paths[path].first_at, path))[:length]


def over_all_dates(dates: Mapping[str, Mapping[str, Path]], listed: Mapping[str, list[str]]) -> dict[str, Path]:
    total: dict[str, Path] = {}
    for date, paths in dates.items():
        for path in listed[date]:
            known = paths[path]
            total.setdefault(path, Path()).add(known.types, known.first_at, known.event_count)
    return total


def choose_claim_columns(
    events: Sequence[dict[str, Any]], folders: Mapping[str, str], limit: int, length: int, lake: Lake
) -> None:
    """Each date lists the first `length` paths with a scalar and as many others; these make the choice of columns."""
    dates: dict[str, dict[str, Path]] = {}
    for event in events:
        paths = dates.setdefault(folders[event["event_uuid"]], {})
        for path, value in paths_of(event["claims"] or {}):
            paths.setdefault(path, Path()).add({type_of(value)}, event["occurred_at"], 1)
    listed = {
        date: first_of({path: known for path, known in paths.items() if known.is_scalar}, length)
        + first_of({path: known for path, known in paths.items() if not known.is_scalar}, length)
        for date, paths in dates.items()
    }
    total = over_all_dates(dates, listed)
    chosen = first_of({path: known for path, known in total.items() if known.is_scalar}, limit)
    for date, paths in dates.items():
        listed[date] += [path for path in chosen if path in paths and path not in listed[date]]
        lake.unlisted[date] = len(paths) - len(listed[date])
    for path, known in over_all_dates(dates, listed).items():
        without = [date for date in dates if lake.unlisted[date] and path not in listed[date] and path not in chosen]
        count = None if without else known.event_count
        lake.catalogue[path] = (",".join(sorted(known.types)), count, len(without))
    for path in chosen:
        rivals = sorted(other for other in chosen if fold(other) == fold(path))
        winner = fold(path) if fold(path) in rivals else rivals[0]
        suffix = "" if path == winner else "_" + hashlib.sha256(path.encode()).hexdigest()[:6]
        lake.claim_columns[path] = f"claim_{fold(path)}{suffix}"


def claim_text(value: Json) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


def flatten(
    deliveries: Sequence[Delivery],
    *,
    limit: int,
    secrets: Mapping[str, str],
    policy: Mapping[str, str],
    folders: Mapping[str, str],
    list_length: int = 128,
    pair_limit: int = 2_000,
) -> Lake:
    """`folders` says which event date of raw holds a uuid."""
    lake = Lake()
    by_uuid: dict[str, list[tuple[dict[str, Any], Delivery]]] = {}
    for delivery in deliveries:
        row = read_delivery(delivery, secrets, policy, pair_limit, lake)
        if row is not None:
            by_uuid.setdefault(row["event_uuid"], []).append((row, delivery))
    events = [merge(found, lake) for found in by_uuid.values()]
    lake.merged_count = sum(len(found) - 1 for found in by_uuid.values())
    choose_claim_columns(events, folders, limit, list_length, lake)
    for event in events:
        counts: dict[tuple[str, str], int] | None = event.pop("counts")
        event["has_error_counts"] = counts is not None
        event["event_date"] = event["occurred_at"].date()
        claims = dict(paths_of(event["claims"] or {}))
        event |= {column: claim_text(claims.get(path)) for path, column in lake.claim_columns.items()}
        lake.events[event["event_uuid"]] = event
        for (column_key, code), count in (counts or {}).items():
            lake.errors.add((event["event_uuid"], column_key, code, count))
    return lake
