"""The simulator's options: the world to make, and the switches that can also be changed while it runs."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from pipelines.simulator.faults import Faults, parse_faults
from pipelines.simulator.odd_times import TimeShape

# A Wednesday noon: tests that name no time get the same world on every day.
DEFAULT_NOW = 1769601600.0

Paging = Literal["ignored", "honoured", "capped", "linked", "wrapped", "refused"]
Order = Literal["ascending", "descending", "shuffled"]
EventShape = Literal["api", "full"]
Panes = Literal["shown", "skipped"]
History = Literal["steady", "eventful"]
ErrorCounts = Literal["mapping", "everywhere"]
# What a sender, a proxy or the network may turn a pushed event into. The last three cannot be read.
PushShape = Literal["gzip", "deflate", "bom", "control", "upgrade", "malformed", "cut", "cut-gzip"]
# What an embed's events endpoint always answers: an error, an object for the array, or an array without objects.
Breakage = Literal["400", "401", "403", "404", "410", "422", "451", "500", "object", "scalars", "not-json"]


class Switches(BaseModel):
    """How the server behaves. `POST /_simulator/switches` takes any part of it as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paging: Paging = Field(
        default="ignored",
        description="what `offset` and `count` do; capped: honoured up to page_cap; refused: 422; linked and wrapped: "
        "ignored, pages of page_cap are announced by a Link header or by a cursor beside the array, of events too",
    )
    page_cap: int = Field(default=100, ge=1, description="largest page, and the one without a `count`, when capped")
    announces_total: bool = Field(default=False, description="both lists say how many there are: X-Total-Count")
    surplus_total: int = Field(default=0, ge=0, description="deleted embeds that the list's total counts as well")
    list_order: Order = Field(default="ascending", description="order of the list by id; shuffled is stable for a seed")
    event_order: Order = Field(default="ascending", description="order of an embed's events by created_at")
    event_shape: EventShape = Field(default="api", description="full: with the fields of the webhook's payload")
    latency_seconds: float = Field(default=0.0, ge=0, description="pause before every answer")
    late_visibility: bool = Field(default=False, description="a share of events shows up later than its created_at")
    retention_days: float | None = Field(default=None, gt=0, description="older events are purged from answers")
    created_at_shape: TimeShape = Field(default="seconds", description="how an event's created_at is written")
    echoes: bool = Field(
        default=False, description="events, embeds and error bodies repeat credentials: the API key, tokens, JWTs"
    )
    odd_dates: bool = Field(default=False, description="some events are dated 1970, 2001, a thousandth, ten years on")
    answers_with_bom: bool = Field(default=False, description="the list and the events begin with a byte order mark")
    push_shapes: tuple[PushShape, ...] = Field(
        default=(), description="shapes that half of the pushed events have, in equal shares"
    )
    refused_after_requests: int | None = Field(
        default=None, ge=0, description="the key is refused once so many requests have come"
    )
    refused_status: Literal[401, 403] = Field(default=401, description="answer to a missing or wrong API key")
    broken_list: Breakage | None = Field(default=None, description="what the list of embeds always answers")
    broken_embeds: dict[int, Breakage] = Field(
        default={}, description="what the events of these embed ids always answer"
    )
    faults: Faults = Field(default=Faults(), description="faults by probability; as text, what `--faults` takes")

    @field_validator("faults", mode="before")
    @classmethod
    def _read_faults(cls, value: object) -> object:
        return parse_faults(value) if isinstance(value, str) else value


class SimulatorOptions(Switches):
    """A simulator's start options: where it listens, the world, and the switches at the start.

    The same `seed`, `embeds`, `days`, `days_ahead`, `now`, `error_counts`, `panes` and `history` give the same world,
    event for event.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    embeds: Annotated[int, Field(ge=0)] = 300
    days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    days_ahead: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    seed: int = 1
    now: float | None = Field(default=DEFAULT_NOW, description="epoch seconds at the start; None: the machine's time")
    error_counts: ErrorCounts = Field(
        default="mapping",
        description="which events report validation errors; mapping: columns_mapped alone, as the vendor documents; "
        "everywhere: import_submitted and embed_closed too, at times. Nothing else differs between the two worlds",
    )
    panes: Panes = Field(
        default="shown",
        description="shown: every session passes every pane, and its event comes; skipped: where it can do without the "
        "customer, the importer skips the header pane and the mapping, sends no event, and the status skips its step. "
        "Nothing else differs between the two worlds",
    )
    history: History = Field(
        default="steady",
        description="steady: every day is like the others; eventful: from a day of the history on a release breaks a "
        "column of one template, and from another on one customer gives up more often. Other sessions stay as they are",
    )
    clock_runs: bool = Field(default=False, description="the clock runs; else only the admin moves it")
    api_key: SecretStr = SecretStr("osk_simulator_4c9d1f7be0a84c5f")
    organisation: str = "Northwind Importers"
    environment: str = "Production"
    client_id: str = "1a415a96-08a4-4cc5-970d-39c9a453781a"
    client_secret: SecretStr = SecretStr("simulator-client-secret-b7d2a9e4")

    def switches(self) -> Switches:
        """Only the switches, as they are at the start."""
        return Switches.model_validate({name: getattr(self, name) for name in Switches.model_fields})
