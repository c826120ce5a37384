"""The kinds of models: which rows a refresh replaces, and what a model must keep to so that they are the right ones.

`refresh:` in a model's comment names its kind. A full build makes every model from all rows, whatever its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# In a refresh these show only what changed since the build before.
PARTITIONED = frozenset({"embed_events", "validation_errors", "quarantine", "days"})
OBSERVED = frozenset({"embeds", "sweeps", "webhook_gaps"})

# These say the same for every row. When they change, the model is made from nothing.
VOCABULARY = frozenset({"event_types", "trigger_types", "funnel_steps", "embed_statuses"})
SETTLED = VOCABULARY | {"parameters"}

UNIT_TYPES = {
    "lake_partition": "varchar",
    "embed_id": "bigint",
    "event_date": "date",
    "entry_date": "date",
    "entry_week": "date",
    "entry_month": "date",
}
"""The columns by which changes are followed, and their types."""

# Those columns of source.parameters that move while no setting changes.
MOVING = frozenset({"data_through", "plausible_until"})


@dataclass(frozen=True)
class Kind:
    """What a refresh does with a model, and what the model may read.

    `unit`: the model's rows of one value of this column must come only from its inputs' rows of the same value. So its
    inputs must have the column, and a refresh replaces the rows of the values that changed.
    `is_merged`: for each key of its grain the model picks one of the rows of the source, by columns that it keeps under
    their names. So a refresh picks from the held row and the new ones.
    `reads_models`: the kinds of the models that it may read; None means any.
    `needs_moments`: where it reads a time that moves, it must say when its rows change (`time:`).
    """

    name: str
    replaced: str
    sources: frozenset[str] | None
    unit: str | None = None
    is_merged: bool = False
    is_staging: bool = False
    is_view: bool = False
    reads_models: frozenset[str] | None = None
    reads_time: bool = True

    @property
    def needs_moments(self) -> bool:
        return self.unit is not None and self.reads_time

    def may_read(self, source: str) -> bool:
        """Whether the model may read a relation of schema `source`; a kind without a list may read what is whole."""
        return source not in PARTITIONED | OBSERVED if self.sources is None else source in self.sources


def _by_unit(unit: str, replaced: str) -> Kind:
    return Kind(unit, replaced, SETTLED, unit=unit)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "lake_partition",
            "the partitions of the lake that changed",
            PARTITIONED | SETTLED,
            unit="lake_partition",
            is_staging=True,
            reads_models=frozenset({"lake_partition"}),
            reads_time=False,
        ),
        Kind(
            "merge",
            "the rows that were said again",
            OBSERVED | SETTLED,
            is_merged=True,
            is_staging=True,
            reads_models=frozenset(),
            reads_time=False,
        ),
        _by_unit("embed_id", "the sessions that changed"),
        _by_unit("event_date", "the dates whose events changed"),
        _by_unit("entry_date", "the dates whose sessions changed"),
        _by_unit("entry_week", "the weeks whose sessions changed"),
        _by_unit("entry_month", "the months whose sessions changed"),
        Kind("whole", "everything", None),
        # It is stored in the published file, where there is no schema `source`.
        Kind("view", "nothing, it is a view", frozenset(), is_view=True, reads_time=False),
    )
}
