"""Counts the requests to the API, so that tests can tell what a sweep costs."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class RequestLog:
    """Requests since the last reset, including faults and refused ones, but not the admin's."""

    by_kind: Counter[str] = field(default_factory=Counter[str])
    by_status: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    # Requests for the events of an embed, by embed id.
    events_by_embed: Counter[int] = field(default_factory=Counter[int])
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def total(self) -> int:
        return self.by_kind.total()

    def begin(self, kind: str, embed_id: int | None) -> None:
        self.by_kind[kind] += 1
        if kind == "events" and embed_id is not None:
            self.events_by_embed[embed_id] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self, status: str) -> None:
        """`status` is that of the answer, or the fault's name if there was no whole answer."""
        self.by_status[status] += 1
        self.in_flight -= 1

    def reset(self) -> None:
        for counter in (self.by_kind, self.by_status, self.faults, self.events_by_embed):
            counter.clear()
        self.most_in_flight = self.in_flight

    def as_json(self) -> dict[str, object]:
        return {
            "total": self.total,
            "by_kind": dict(self.by_kind),
            "by_status": dict(self.by_status),
            "faults": dict(self.faults),
            "events_by_embed": {str(embed_id): count for embed_id, count in self.events_by_embed.items()},
            "most_in_flight": self.most_in_flight,
        }
