"""The fields of the vendor's event, one line each.

Landing, reading, merging, the quarantine and the schemas of raw and the lake are all made from them. A field that the
vendor adds arrives in `extra` until it has a line here. With a line, it has a column in raw and in the lake. A value
that cannot be read is NULL there, and a row in the quarantine.
"""

from dataclasses import dataclass
from typing import Literal

from pipelines.home.tables import Column
from pipelines.oneschema.reading import BOOLEAN, INTEGER, NAME, OBJECT, TEXT, TIME, Kind

Merge = Literal["identity", "alone", "with data"]
"""How the deliveries of one event are merged: the field identifies the event; or its first value is taken, in the order
of flatten.merge; or it is taken together with `data`."""


@dataclass(frozen=True)
class EventField:
    """A field of an event: its name in the vendor's JSON, its column in the lake, its kind, and its documentation.

    If `is_enveloped`, the field is also an attribute of raw_rows.Envelope, and an event without its own value takes the
    embed's. An event without a `required` field is quarantined whole.
    """

    name: str
    column: str
    kind: Kind
    description: str
    required: bool = False
    is_enveloped: bool = False
    merge: Merge = "alone"

    def __post_init__(self) -> None:
        if self.kind.is_converted and self.name == self.column:
            raise ValueError(f"{self.name}: its column needs another name, because raw keeps the value as it came.")

    @property
    def raw_column(self) -> str:
        """The column's name in raw: the lake's name, unless raw keeps the value in another type, as it came."""
        return self.name if self.kind.is_converted else self.column

    @property
    def in_raw(self) -> Column:
        description = f"`{self.name}` of the event" + (", else of its envelope" if self.is_enveloped else "")
        return Column(self.raw_column, self.kind.raw_type, f"{description}: {self.description}")

    @property
    def in_lake(self) -> Column:
        return Column(self.column, self.kind.lake_type or self.kind.raw_type, self.description, required=self.required)


# Read as a token: raw and the lake have its claims and its status.
TOKEN_FIELD = "embed_jwt"

# In the order of the columns.
EVENT_FIELDS: tuple[EventField, ...] = (
    EventField("uuid", "event_uuid", NAME, "identity of the event in every channel", required=True, merge="identity"),
    EventField("id", "event_id", INTEGER, "the event's number within the API; NULL when only a webhook brought it"),
    EventField("embed_id", "embed_id", INTEGER, "the embed session", required=True, is_enveloped=True),
    EventField("event_type", "event_type", NAME, "what happened; unknown types are rows like any other", required=True),
    EventField("trigger_type", "trigger_type", TEXT, "user, api or automation"),
    EventField("created_at", "occurred_at", TIME, "when it happened: created_at in UTC, microseconds", required=True),
    EventField(
        "environment_name",
        "environment_name",
        TEXT,
        "the event's own, else ONESCHEMA_ENVIRONMENT when fetched",
        is_enveloped=True,
    ),
    EventField(
        "template_key", "template_key", TEXT, "the event's own, else its embed's when fetched", is_enveloped=True
    ),
    EventField("has_snapshot", "has_snapshot", BOOLEAN, "a snapshot of the sheet exists for this event"),
    EventField("data", "data", OBJECT, "`data` as JSON, extra keys included", merge="with data"),
)
