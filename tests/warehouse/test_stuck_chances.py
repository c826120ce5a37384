"""The chance that a stuck session still finishes, and the pauses that it is told by, against their definitions.

The reference looks at one stuck session, one other session and one of its events at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from pipelines.warehouse import sources
from pipelines.warehouse.functions import create_functions
from pipelines.warehouse.models import load_models
from pipelines.warehouse.parameters import Parameters
from pipelines.warehouse.tables import create_whole
from tests.proving import examples
from tests.warehouse.answers import rows_of
from tests.warehouse.session_world import STEPS, SessionWorld

NOW = datetime(2026, 6, 1, 9)
IDLE_AFTER = timedelta(days=1)
WINDOW = timedelta(days=3)
RECENT = timedelta(days=90)
DAY = 24 * 60
ENTER, UPLOAD, SELECT, MAP, SUBMIT = STEPS
OPERATE, CLOSE = "sheet_operation_performed", "embed_closed"
MODELS = {model.name: model for model in load_models()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionWorld]:
    root = tmp_path_factory.mktemp("chances") / "home"
    world = SessionWorld(root, data_through=NOW, window=WINDOW, idle_after=IDLE_AFTER)
    sources.attach(world.connection)
    create_functions(world.connection)
    named = {"embed_analytics_idle_after_hours": 24, "embed_analytics_funnel_window_days": 3}
    sources.create_parameters(world.connection, Parameters.from_settings(Settings.defaults(**named), NOW))
    yield world
    world.connection.close()


@dataclass(frozen=True)
class Session:
    """The events of a session as type and minutes before NOW, in the order in which they happened."""

    template: str | None
    events: tuple[tuple[str, float], ...]

    @property
    def times(self) -> list[datetime]:
        return [NOW - timedelta(minutes=minutes) for _, minutes in self.events]

    @property
    def types(self) -> list[str]:
        return [event_type for event_type, _ in self.events]

    @property
    def entry_at(self) -> datetime:
        return self.times[self.types.index(ENTER) if ENTER in self.types else 0]

    def furthest(self, number: int) -> str:
        """The furthest step after so many events."""
        return STEPS[max([STEPS.index(each) for each in self.types[:number] if each in STEPS], default=0)]

    def waits(self) -> Iterator[tuple[str, datetime, datetime | None]]:
        """The step, the beginning and the end of each time between two events; after the last, no end."""
        for number, (event_type, begins, ends) in enumerate(
            zip(self.types, self.times, [*self.times[1:], None], strict=True), start=1
        ):
            if event_type != CLOSE:
                yield self.furthest(number), begins, ends

    @property
    def is_open(self) -> bool:
        return SUBMIT not in self.types and self.times[-1] >= NOW - IDLE_AFTER

    @property
    def is_known(self) -> bool:
        entry_day = datetime(self.entry_at.year, self.entry_at.month, self.entry_at.day)
        return not self.is_open and entry_day + timedelta(days=1) + WINDOW <= NOW


def session(template: str | None, idle: float, *before: tuple[str, float]) -> Session:
    """A session whose last event was `idle` minutes ago. `before` are its events, each with the minutes since the one
    before it."""
    moments = [idle + sum(gap for _, gap in before[number:]) for number in range(1, len(before) + 1)]
    return Session(template, tuple((event_type, at) for (event_type, _), at in zip(before, moments, strict=True)))


def chance(stuck: Session, sessions: Sequence[Session], template: bool) -> tuple[int, int, int]:
    """Similar sessions of known outcome, those of them that submitted, and those whose outcome is not known."""
    idle = NOW - stuck.times[-1]
    step = stuck.furthest(len(stuck.events))
    known = submitted = immature = 0
    for other in sessions:
        if other is stuck or other.entry_at < NOW - RECENT or (template and other.template != stuck.template):
            continue
        landmarks = [
            begins + idle for at, begins, ends in other.waits() if at == step and (ends or NOW) - begins >= idle
        ]
        if not landmarks:
            continue
        known += other.is_known
        immature += not other.is_known
        submitted += other.is_known and any(
            event_type == SUBMIT and moment >= landmarks[0]
            for event_type, moment in zip(other.types, other.times, strict=True)
        )
    return known, submitted, immature


def built(world: SessionWorld, sessions: Sequence[Session]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of rpt_stuck_embeds and of fct_embed_pauses. The number of a session is its embed_id."""
    number = count()
    events = [
        {
            "event_uuid": f"{next(number):06}",
            "embed_id": embed_id,
            "event_type": event_type,
            "occurred_at": moment,
            "event_date": moment.date(),
            "template_key": each.template,
            "has_error_counts": False,
            "has_unreadable_error_counts": False,
        }
        for embed_id, each in enumerate(sessions)
        for event_type, moment in zip(each.types, each.times, strict=True)
    ]
    with world.holding(stg_embed_events=events) as connection:
        for name in ("fct_embeds", "fct_embed_pauses", "rpt_stuck_embeds"):
            create_whole(connection, MODELS[name])
        stuck = rows_of(connection.execute("from rpt_stuck_embeds order by embed_id"))
        return stuck, rows_of(connection.execute("from fct_embed_pauses order by embed_id, step"))


TYPES = st.sampled_from([ENTER, UPLOAD, MAP, MAP, SUBMIT, OPERATE, CLOSE])
GAPS = st.sampled_from([0, 1, 14.999, 15, 61, 62, 300, DAY - 2, DAY, DAY + 1])
BEFORE = st.lists(st.tuples(TYPES, GAPS), max_size=4).map(lambda rest: [(ENTER, 0.0), *rest])
TEMPLATES = st.sampled_from(["a", "a", "b", None])
# Open sessions, and others of which some are too young, some too old and some have just become mature.
OPEN = st.builds(lambda *about: session(*about[:2], *about[2]), TEMPLATES, st.sampled_from([61, 62, 300, DAY]), BEFORE)
ENDED = st.builds(
    lambda *about: session(*about[:2], *about[2]),
    TEMPLATES,
    st.sampled_from([DAY + 1, 3 * DAY, 3 * DAY + 540, 3 * DAY + 541, 5 * DAY, 60 * DAY, 90 * DAY - 1, 90 * DAY]),
    BEFORE,
)


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@pytest.mark.slow
@pytest.mark.prove
@given(
    stuck=st.lists(OPEN, min_size=1, max_size=6),
    others=st.lists(st.tuples(st.sampled_from([1, 2, 19, 20]), ENDED), max_size=8),
)
def test_the_chance_and_the_pauses_are_their_definitions(
    world: SessionWorld, stuck: list[Session], others: list[tuple[int, Session]]
) -> None:
    # As many equal sessions are not the same one.
    sessions = [Session(each.template, each.events) for each in stuck]
    sessions += [Session(each.template, each.events) for times, each in others for _ in range(times)]

    found, pauses = built(world, sessions)

    for row in found:
        told = sessions[int(row["embed_id"])]
        of_template, of_all = (chance(told, sessions, template) for template in (True, False))
        is_same_template = of_template[0] >= 20
        known, submitted, immature = of_template if is_same_template else of_all
        assert row["is_same_template"] == is_same_template
        counts = (row["similar_count"], row["similar_submitted_count"], row["similar_immature_count"])
        assert counts == (known, submitted, immature)
        assert row["similar_submitted_rate"] == (submitted / known if known else None)
        ends = (row["similar_submitted_rate_low"], row["similar_submitted_rate_high"])
        assert (None not in ends) == bool(known)

    expected: dict[tuple[int, str], list[float]] = {}
    for embed_id, each in enumerate(sessions):
        for step, begins, ends in each.waits():
            if ends is not None and ends - begins >= timedelta(minutes=15):
                expected.setdefault((embed_id, step), []).append((ends - begins).total_seconds())
    assert {(row["embed_id"], row["step"]): (row["pause_count"], row["longest_pause_seconds"]) for row in pauses} == {
        key: (len(seconds), max(seconds)) for key, seconds in expected.items()
    }


STUCK = session("a", 120, (ENTER, 0), (UPLOAD, 1))
# Another session, and the counts that follow: similar_count, similar_submitted_count, similar_immature_count.
OTHERS: dict[str, tuple[Session, tuple[int, int, int]]] = {
    "submitted after as long": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 120)), (1, 1, 0)),
    "went on sooner": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 119.9)), (0, 0, 0)),
    "idle after another event": (
        session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (OPERATE, 9), (SUBMIT, 121)),
        (1, 1, 0),
    ),
    "idle twice": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (OPERATE, 500), (SUBMIT, 121)), (1, 1, 0)),
    "idle at an earlier step": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 200), (SUBMIT, 1)), (0, 0, 0)),
    "idle at a later step": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (MAP, 1), (SUBMIT, 200)), (0, 0, 0)),
    "went back, and was idle at its furthest step": (
        session("a", 9 * DAY, (ENTER, 0), (MAP, 1), (UPLOAD, 1), (SUBMIT, 200)),
        (0, 0, 0),
    ),
    "closed before": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (CLOSE, 1), (SUBMIT, 200)), (0, 0, 0)),
    "closed after": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (CLOSE, 200)), (1, 0, 0)),
    "silent since": (session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1)), (1, 0, 0)),
    "another template": (session("b", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 120)), (1, 1, 0)),
    "the last mature day": (session("a", 3 * DAY + 9 * 60 + 1, (ENTER, 0), (UPLOAD, 1)), (1, 0, 0)),
    "too young": (session("a", 3 * DAY + 9 * 60 - 1, (ENTER, 0), (UPLOAD, 1)), (0, 0, 1)),
    "too young, and submitted": (session("a", DAY, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 121)), (0, 0, 1)),
    "open again": (session("a", 1, (ENTER, 0), (UPLOAD, 1), (OPERATE, 9 * DAY)), (0, 0, 1)),
    "open, idle for as long": (session("b", 120, (ENTER, 0), (UPLOAD, 1)), (0, 0, 1)),
    "open, idle for less": (session("b", 119, (ENTER, 0), (UPLOAD, 1)), (0, 0, 0)),
    "90 days ago": (session("a", 90 * DAY - 121, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 120)), (1, 1, 0)),
    "longer ago": (session("a", 90 * DAY - 120, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 120)), (0, 0, 0)),
}


@pytest.mark.parametrize(("other", "counts"), OTHERS.values(), ids=OTHERS)
def test_which_sessions_are_similar(world: SessionWorld, other: Session, counts: tuple[int, int, int]) -> None:
    row = built(world, [STUCK, other])[0][0]
    assert row["embed_id"] == 0
    assert (row["similar_count"], row["similar_submitted_count"], row["similar_immature_count"]) == counts
    assert row["similar_submitted_rate"] == (counts[1] / counts[0] if counts[0] else None)
    assert row["is_same_template"] is False


def test_a_session_that_began_long_ago_is_not_among_its_own(world: SessionWorld) -> None:
    old = session("a", 120, (ENTER, 0), (UPLOAD, 91 * DAY))
    assert [row["similar_immature_count"] for row in built(world, [old])[0]] == [0]
    assert [row["similar_immature_count"] for row in built(world, [old, old])[0]] == [0, 0]
    assert [row["similar_immature_count"] for row in built(world, [STUCK, old])[0]] == [0, 1]


@pytest.mark.parametrize(("of_template", "told"), [(19, (29, 10)), (20, (20, 0))])
def test_twenty_sessions_of_the_template_tell_of_it(
    world: SessionWorld, of_template: int, told: tuple[int, int]
) -> None:
    silent = [session("a", 9 * DAY, (ENTER, 0), (UPLOAD, 1))] * of_template
    submitted = [session("b", 9 * DAY, (ENTER, 0), (UPLOAD, 1), (SUBMIT, 500))] * 10
    (row,) = built(world, [STUCK, *silent, *submitted])[0]
    assert row["is_same_template"] is (of_template == 20)
    assert (row["similar_count"], row["similar_submitted_count"]) == told
