"""The first event date that is a partition: the setting, else the earliest that the home holds or was asked for.

It never moves forward, because Dagster would forget the partitions before it. So it is noted in the home's state. If
the note is lost, days without events in the home stop being partitions.
"""

from datetime import UTC, date, datetime
from pathlib import Path

from pipelines.errors import ConfigurationError
from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.home.times import PLAUSIBLE_FROM
from pipelines.settings import Settings


def first_partition(settings: Settings) -> date:
    """The first partition. For a home that exists but holds nothing, it is the day on which this was first asked.

    Raises ConfigurationError for an EMBED_ANALYTICS_START_DATE in the future.
    """
    if (start := settings.embed_analytics_start_date) is None:
        return include_in_partitions(settings.home, _today())
    if start > _today():
        raise ConfigurationError(
            f"A setting cannot be used: EMBED_ANALYTICS_START_DATE: {start} is in the future, but a refresh runs on "
            "today's partition."
        )
    return start


def include_in_partitions(home: Home, day: date) -> date:
    """Make the first partition `day` or earlier from now on. Returns the first partition."""
    noted = _noted(home)
    first = min(filter(None, (day, noted, _earliest_held(home))))
    # Looking at the definitions must not make a folder.
    if home.root.is_dir() and (noted is None or first < noted):
        try:
            home.state.mkdir(mode=0o700, exist_ok=True)
            write_text(f"{first}\n", _note(home))
        except OSError:
            # A user who may read the home but not write to it can still see its definitions.
            return first
    return first


def is_plausible(day: str) -> bool:
    """Whether an event date (YYYY-MM-DD, or `unknown`) can be a partition: neither in the future nor absurdly old."""
    return (parsed := _parsed(day)) is not None and PLAUSIBLE_FROM.date() <= parsed <= _today()


def _earliest_held(home: Home) -> date | None:
    try:
        names = [path.name.removeprefix("event_date=") for path in home.raw_embed_events.iterdir()]
    except OSError:
        # Nothing has landed yet, or the path is not a home. A run will say so.
        return None
    return min((date.fromisoformat(name) for name in names if is_plausible(name)), default=None)


def _noted(home: Home) -> date | None:
    try:
        text = _note(home).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    # A damaged note counts as none.
    return date.fromisoformat(text) if is_plausible(text) else None


def _note(home: Home) -> Path:
    return home.state / "first_partition.txt"


def _parsed(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    # Folders are not named by other forms of ISO dates.
    return day if day.isoformat() == text else None


def _today() -> date:
    return datetime.now(UTC).date()
