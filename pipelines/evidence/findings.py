"""What a check of a home says: findings, days that are waiting, notes, what was proven and what was not."""

from dataclasses import dataclass, field
from typing import Literal, Self

from pipelines.chain.links import Link

Layer = Literal["chain", "raw", "lake", "warehouse", "anchor"]


@dataclass(frozen=True)
class Since:
    """Between which times something happened, by links of the chain or by a build. None: not known."""

    after: str | None = None
    after_link: int | None = None
    before: str | None = None
    before_link: int | None = None

    @classmethod
    def between(cls, after: Link | None, before: Link | None) -> Self:
        """Between the times of two links."""
        return cls(
            after and after.at,
            None if after is None else after.number,
            before and before.at,
            None if before is None else before.number,
        )

    def __str__(self) -> str:
        after = _moment(self.after, self.after_link)
        before = _moment(self.before, self.before_link)
        if after and before:
            return f"between {after} and {before}"
        if after or before:
            return f"after {after}" if after else f"before {before}"
        return "since when is not known"


def _moment(at: str | None, link: int | None) -> str:
    if at is None:
        return ""
    return at if link is None else f"{at} (link {link})"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written.

    `path` is the file below the home, `date` the event date, `reason` what happened to it, `way_out` what to do.
    """

    layer: Layer
    path: str | None
    date: str | None
    reason: str
    since: Since
    way_out: str

    def __str__(self) -> str:
        where = self.path or self.layer
        day = f" ({self.date})" if self.date and self.date not in where else ""
        return f"{self.layer}: {where}{day} {self.reason}; {self.since}. {self.way_out}"


@dataclass(frozen=True)
class Waiting:
    """A part that the next refresh makes again, so it was not compared."""

    layer: Layer
    date: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.date or 'everything'} is waiting: {self.reason}"


@dataclass
class Checked:
    """What one check found. `proven` and `unproven` are sentences."""

    findings: list[Finding] = field(default_factory=list[Finding])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    notes: list[str] = field(default_factory=list[str])
    proven: list[str] = field(default_factory=list[str])
    unproven: list[str] = field(default_factory=list[str])

    def add(self, other: "Checked") -> None:
        """Take in what another check says."""
        self.findings += other.findings
        self.waiting += other.waiting
        self.notes += other.notes
        self.proven += other.proven
        self.unproven += other.unproven
