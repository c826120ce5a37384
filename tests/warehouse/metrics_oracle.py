"""What rpt_metrics says of sessions, from the definitions: one session, period and choice of names at a time."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

from pipelines.oneschema.vocabulary import FUNNEL_STEPS

STEPS = [step.step for step in FUNNEL_STEPS]
MOST_PLANS = 20

ALL = object()
"""Stands for all environments, templates, plans or customers together. No name equals it."""

COMPARED = ("last_28_days", "previous_28_days")


class Key(NamedTuple):
    """Which number a row is."""

    metric: str
    step: str | None
    period: str
    period_start: date | None
    environment: object
    template: object
    plan: object
    customer: object


class Number(NamedTuple):
    """What a row says, without its interval."""

    value: float | None
    numerator: int | None
    denominator: int | None
    open_count: int


Embed = Mapping[str, Any]


def session_numbers(embeds: Iterable[Embed], now: datetime, window: timedelta, *, has_plan: bool) -> dict[Key, Number]:
    """Every number of sessions. `embeds` are rows of fct_embeds, `now` is data_through."""
    timed = [embed for embed in embeds if embed["entry_date"] is not None]
    plans: defaultdict[date, set[str]] = defaultdict(set)
    for embed in timed:
        plans[embed["entry_date"]].add(embed["plan"])
    unsplit = {day for day, seen in plans.items() if not has_plan or len(seen - {None}) > MOST_PLANS}
    found: dict[Key, Number] = {}
    for (period, start), members in _by_period(timed, now, window).items():
        is_split = not unsplit & {embed["entry_date"] for embed in members}
        for cell, chosen in _cells(period, members, is_split=is_split).items():
            for (metric, step), number in _numbers(chosen, now, window, unsplit).items():
                if _is_told(metric, period, cell):
                    found[Key(metric, step, period, start, *cell)] = number
    return found


Cell = tuple[object, object, object, object]


def _cells(period: str, embeds: Iterable[Embed], *, is_split: bool) -> dict[Cell, list[Embed]]:
    """The sessions by what a row is of: environment, template, plan, customer."""
    cells: defaultdict[Cell, list[Embed]] = defaultdict(list)
    for embed in embeds:
        environment, template, plan = (embed[name] for name in ("environment_name", "template_key", "plan"))
        for choice in product((environment, ALL), (template, ALL), (plan, ALL) if is_split else (ALL,)):
            cells[(*choice, ALL)].append(embed)
        if period in COMPARED and embed["customer_id"] is not None:
            for one_or_all in (template, ALL):
                cells[ALL, one_or_all, ALL, embed["customer_id"]].append(embed)
    return cells


def _is_told(metric: str, period: str, cell: Cell) -> bool:
    if metric.startswith("seconds_"):
        return cell[3] is ALL and (period == "day" or period in COMPARED)
    return cell[3] is ALL or metric in ("sessions", "submitted", "delivered")


def _by_period(embeds: Iterable[Embed], now: datetime, window: timedelta) -> dict[tuple[str, date | None], list[Embed]]:
    found: defaultdict[tuple[str, date | None], list[Embed]] = defaultdict(list)
    last_mature = last_mature_day(now, window)
    for embed in embeds:
        day: date = embed["entry_date"]
        found["day", day].append(embed)
        found["week", day - timedelta(days=day.weekday())].append(embed)
        found["month", day.replace(day=1)].append(embed)
        age = (last_mature - day).days
        if age < 0:
            found["since", last_mature + timedelta(days=1)].append(embed)
        elif age < 28:
            found["last_28_days", last_mature - timedelta(days=27)].append(embed)
        elif age < 56:
            found["previous_28_days", last_mature - timedelta(days=55)].append(embed)
    return found


def last_mature_day(now: datetime, window: timedelta) -> date:
    """The last day of which every session has had the window to convert."""
    day = now.date()
    while datetime.combine(day, datetime.min.time()) + timedelta(days=1) + window > now:
        day -= timedelta(days=1)
    return day


def _numbers(
    embeds: Sequence[Embed], now: datetime, window: timedelta, unsplit: set[date]
) -> dict[tuple[str, str | None], Number]:
    def may_move(embed: Embed) -> bool:
        return embed["outcome"] == "open" and embed["entry_at"] + window > now

    submitted = [embed for embed in embeds if embed["outcome"] == "submitted"]
    said = [embed for embed in submitted if embed["delivery"] is not None]
    moving = [embed for embed in embeds if may_move(embed)]
    apart = [embed for embed in embeds if embed["entry_date"] in unsplit]
    found: dict[tuple[str, str | None], Number] = {
        ("sessions", None): Number(len(embeds), len(embeds), None, len(moving)),
        ("sessions_not_by_plan", None): Number(len(apart), len(apart), None, len(moving)),
        ("submitted", None): _rate(submitted, embeds, len(moving)),
        ("delivered", None): _rate(
            [embed for embed in said if embed["delivery"] == "imported"], said, len(submitted) - len(said)
        ),
    }
    seconds = sorted(
        (embed["import_submitted_at"] - embed["file_uploaded_at"]).total_seconds()
        for embed in embeds
        if embed["import_submitted_at"] is not None
        and embed["file_uploaded_at"] is not None
        and embed["import_submitted_at"] >= embed["file_uploaded_at"]
    )
    waiting = sum(embed["file_uploaded_at"] is not None for embed in moving)
    for metric, share in (("seconds_to_submit_median", 0.5), ("seconds_to_submit_p90", 0.9)):
        found[metric, None] = Number(quantile(seconds, share), None, len(seconds), waiting)
    for place, step in enumerate(STEPS):
        reached = [embed for embed in embeds if STEPS.index(embed["furthest_step"]) >= place]
        skipped = [embed for embed in reached if step in embed["skipped_steps"]]
        performed = [embed for embed in reached if embed not in skipped and (place > 0 or embed["is_entry_observed"])]
        at_least = [embed for embed in embeds if embed["in_order_step_count"] > place]
        ahead = len(moving) - sum(embed in reached for embed in moving)
        for metric, chosen in (
            ("reached", reached), ("skipped", skipped), ("performed", performed), ("in_order", at_least),
        ):  # fmt: skip
            found[metric, step] = _rate(chosen, embeds, ahead)
        if place + 1 < len(STEPS):
            staying = [embed for embed in reached if embed["furthest_step"] == step]
            gone = [embed for embed in staying if not may_move(embed)]
            found["dropped", step] = _rate(gone, reached, len(staying) - len(gone))
    return found


def _rate(chosen: Sequence[Embed], of: Sequence[Embed], open_count: int) -> Number:
    return Number(len(chosen) / len(of) if of else None, len(chosen), len(of), open_count)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The quantile of sorted values, between two of them where it must be."""
    if not values:
        return None
    place = share * (len(values) - 1)
    below, above = values[math.floor(place)], values[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))
