"""Where things are below one home. Only paths are here: opening, locking and writing belong to what uses the paths.

The rules of each folder are in docs/architecture.md, "The home". A home belongs to one API and organisation and has
one writer at a time.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder EMBED_ANALYTICS_HOME, the group that EMBED_ANALYTICS_GROUP lets read it, and where the key is that
    signs its chain."""

    root: Path
    group: str | None = None
    signing_key: Path | None = None

    @property
    def raw_embed_events(self) -> Path:
        return self.root / "raw" / "embed_events"

    @property
    def raw_embeds(self) -> Path:
        return self.root / "raw" / "embeds"

    @property
    def raw_sweeps(self) -> Path:
        return self.root / "raw" / "sweeps"

    @property
    def raw_unreadable(self) -> Path:
        return self.root / "raw" / "unreadable"

    @property
    def raw_chain(self) -> Path:
        return self.root / "raw" / "chain"

    @property
    def raw_access(self) -> Path:
        return self.root / "raw" / "access"

    @property
    def raw_webhook_gaps(self) -> Path:
        return self.root / "raw" / "webhook_gaps"

    @property
    def raw_keyrings(self) -> Path:
        return self.root / "raw" / "keyrings"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def key_store(self) -> Path:
        return self.keys / "keys.sqlite"

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def lake_embed_events(self) -> Path:
        return self.lake / "embed_events"

    @property
    def lake_validation_errors(self) -> Path:
        return self.lake / "validation_errors"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def poll_state(self) -> Path:
        return self.state / "poll.sqlite"

    @property
    def digest_ledger(self) -> Path:
        return self.state / "digest.json"

    @property
    def webhook_journal(self) -> Path:
        return self.root / "webhooks"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def report_with_people(self) -> Path:
        return self.root / "report-with-people.html"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations.csv"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"


UNKNOWN_DATE = "unknown"
"""The event date of events whose created_at cannot be read, or was not plausible when they came."""

# In a table of the lake, readers take the folder for a column. A text would make the dates of all others a text, and
# pandas cannot read the folder that stands for NULL (pandas issue 55400). No event has this date: none is plausible.
NO_DATE = "0001-01-01"


def partition_folder(table: Path, event_date: str) -> Path:
    """The folder of one event date (`YYYY-MM-DD` or `unknown`) of raw/embed_events or of the quarantine."""
    return table / f"event_date={event_date}"


def lake_folder(table: Path, event_date: str) -> Path:
    """The folder of one event date (`YYYY-MM-DD` or `unknown`) of a table of the lake."""
    return table / f"event_date={NO_DATE if event_date == UNKNOWN_DATE else event_date}"


def event_date_of(folder: str) -> str | None:
    """The event date of a folder's name, of any of these tables; None for another name."""
    key, _, value = folder.partition("=")
    return None if key != "event_date" else UNKNOWN_DATE if value == NO_DATE else value
