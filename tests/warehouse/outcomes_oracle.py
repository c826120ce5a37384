"""rpt_error_outcomes, rpt_step_times and rpt_repairs from their definitions: one session and one choice at a time."""

import importlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from tests.warehouse.drivers_checks import used_of
from tests.warehouse.drivers_oracle import Cells, odds_ratio
from tests.warehouse.metrics_oracle import ALL, MOST_PLANS, STEPS, last_mature_day, quantile

TABLES: Any = importlib.import_module("statsmodels.stats.contingency_tables")
DIMENSIONS = ("environment_name", "template_key", "plan")
TIMES = [10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400, 259200]
OPERATION = "sheet_operation_performed"

Row = Mapping[str, Any]
Interval = tuple[float | None, float | None]


class Sessions(NamedTuple):
    """Rows of a warehouse: of fct_embeds, and by embed_id of fct_embed_validation_errors and stg_embed_events. Events
    are those with a plausible time."""

    embeds: Sequence[Row]
    errors: Mapping[int, Sequence[Row]]
    events: Mapping[int, Sequence[Row]]


class Outcome(NamedTuple):
    """Of a pair of column and code."""

    session_count: int
    unsubmitted_count: int
    other_session_count: int
    other_unsubmitted_count: int
    unknown_count: int
    odds_ratio: float | None
    odds_ratio_interval: Interval


class Reached(NamedTuple):
    """Of a step and a time."""

    reached_count: int
    entered_count: int
    left_out_count: int
    timed_count: int
    quantiles: tuple[tuple[float | None, float | None, float | None], ...]


def by_choice(sessions: Sessions, now: datetime, window: timedelta, *, has_plan: bool) -> dict[Any, list[Row]]:
    """The sessions of the last 28 mature days by environment, template and plan, each also ALL."""
    last = last_mature_day(now, window)
    embeds = [
        embed
        for embed in sessions.embeds
        if embed["entry_date"] is not None and 0 <= (last - embed["entry_date"]).days < 28
    ]
    plans: defaultdict[Any, set[str | None]] = defaultdict(set)
    for embed in embeds:
        plans[embed["entry_date"]].add(embed["plan"])
    is_split = has_plan and all(len(seen - {None}) <= MOST_PLANS for seen in plans.values())
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for embed in embeds:
        environment, template, plan = (embed[name] for name in DIMENSIONS)
        for choice in product((environment, ALL), (template, ALL), (plan, ALL) if is_split else (ALL,)):
            found[choice].append(embed)
    return found


def error_outcomes(sessions: Sessions, embeds: Iterable[Row]) -> dict[tuple[str, str], Outcome]:
    """By column and code, of sessions of one choice."""
    compared: list[tuple[Row, set[tuple[str, str]]]] = []
    unknown = 0
    for embed in embeds:
        mapped, submitted = embed["columns_mapped_at"], embed["import_submitted_at"]
        if mapped is None and submitted is None:
            continue
        is_in_time = mapped is not None and mapped >= embed["entry_at"] and (submitted is None or submitted >= mapped)
        if not is_in_time or embed["first_error_count"] is None:
            unknown += 1
            continue
        pairs = {
            (row["column_key"], row["error_code"])
            for row in sessions.errors.get(embed["embed_id"], ())
            if row["first_error_count"]
        }
        compared.append((embed, pairs))
    return {pair: _outcome(pair, compared, unknown) for pair in {pair for _, pairs in compared for pair in pairs}}


def _outcome(pair: tuple[str, str], compared: Sequence[tuple[Row, set[tuple[str, str]]]], unknown: int) -> Outcome:
    strata: defaultdict[str | None, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for embed, pairs in compared:
        strata[embed["template_key"]][2 * (pair not in pairs) + (embed["import_submitted_at"] is None)] += 1
    cells: list[Cells] = [(a, b, c, d) for a, b, c, d in strata.values()]
    a, b, c, d = (sum(table[place] for table in cells) for place in range(4))
    pooled = odds_ratio(cells)
    interval: Interval = (None, None)
    if pooled:
        used = np.array([[[a, b], [c, d]] for a, b, c, d in used_of(cells)], dtype=float).transpose(1, 2, 0)
        interval = TABLES.StratifiedTable(used).oddsratio_pooled_confint()
    return Outcome(a + b, b, c + d, d, unknown, None if pooled is None else float(pooled), interval)


def step_times(sessions: Sessions, embeds: Sequence[Row], window: timedelta) -> dict[tuple[str, float], Reached]:
    """By step and time, of sessions of one choice."""
    limit = window.total_seconds()
    found: dict[tuple[str, float], Reached] = {}
    for place, step in enumerate(STEPS[1:], start=1):
        arrivals: list[float | None] = []
        left_out = 0
        for embed in embeds:
            times = [
                (event["occurred_at"] - embed["entry_at"]) / timedelta(seconds=1)
                for event in sessions.events[embed["embed_id"]]
                if event["event_type"] in STEPS[place:]
            ]
            from_entry = [seconds for seconds in times if seconds >= 0]
            if not embed["is_entry_observed"] or (times and not from_entry):
                left_out += 1
            else:
                arrivals.append(min(from_entry, default=None))
        timed = sorted(seconds for seconds in arrivals if seconds is not None and seconds <= limit)
        quantiles = tuple((quantile(timed, share), *_ends(timed, share)) for share in (0.5, 0.75, 0.9))
        for seconds in {*(time for time in TIMES if time < limit), limit}:
            reached = sum(arrived <= seconds for arrived in timed)
            found[step, seconds] = Reached(reached, len(arrivals), left_out, len(timed), quantiles)
    return found


def _ends(values: Sequence[float], share: float) -> Interval:
    """Of the values in order, those whose places are as far away as a binomial count is in 95 of 100 cases."""
    half = NormalDist().inv_cdf(0.975) * math.sqrt(len(values) * share * (1 - share))
    low, high = math.floor(len(values) * share - half), math.ceil(len(values) * share + half) + 1
    return (values[low - 1] if low >= 1 else None), (values[high - 1] if high <= len(values) else None)


def repairs(sessions: Sessions, embeds: Iterable[Row]) -> dict[tuple[str, bool, str | None], tuple[int, int]]:
    """By code, whether there is an operation, and operation: sessions of one choice, and those that submitted."""
    found: defaultdict[tuple[str, bool, str | None], list[int]] = defaultdict(lambda: [0, 0])
    for embed in embeds:
        codes = {
            row["error_code"]
            for row in sessions.errors.get(embed["embed_id"], ())
            if (row["first_error_count"] or 0) > 0 or (row["last_error_count"] or 0) > 0
        }
        operations = {
            (True, event["operation"])
            for event in sessions.events[embed["embed_id"]]
            if event["event_type"] == OPERATION and event["trigger_type"] == "user"
        }
        for code, (has_operation, operation) in product(codes, operations or {(False, None)}):
            counts = found[code, has_operation, operation]
            counts[0] += 1
            counts[1] += embed["import_submitted_at"] is not None
    return {key: (count, submitted) for key, (count, submitted) in found.items()}


def of_each_choice(
    choices: Mapping[Any, list[Row]], counted: Callable[[list[Row]], Mapping[Any, Any]]
) -> dict[Any, Any]:
    """What is counted of the sessions of each choice, by choice and key."""
    return {(choice, key): told for choice, embeds in choices.items() for key, told in counted(embeds).items()}
