"""Whether an answer of drivers() is what its definition, scipy and statsmodels say."""

import importlib
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
import pytest

from tests.warehouse.drivers_oracle import Answer, Cells, Fact, Stratum, fisher, mantel_haenszel, odds_ratio

# Neither has types.
STATS: Any = importlib.import_module("scipy.stats")
TABLES: Any = importlib.import_module("statsmodels.stats.contingency_tables")
MULTITEST: Any = importlib.import_module("statsmodels.stats.multitest")
PROPORTION: Any = importlib.import_module("statsmodels.stats.proportion")


def check(found: list[dict[str, Any]], expected: Answer, *, at_step: str, hold: Sequence[str], min_count: int) -> None:
    """Every row and every column of an answer."""
    rows: dict[Fact, dict[str, Any]] = {(row["kind"], row["factor"], row["value"]): row for row in found}
    assert rows.keys() == expected.tables.keys()
    assert len(found) == len(rows)
    for fact, row in rows.items():
        for name in ("session_count", "skipped_count", "left_out_count", "immature_count"):
            assert row[name] == getattr(expected, name), name
        by_stratum = expected.tables[fact]
        _check_the_table(row, list(by_stratum.values()))
        reason = _reason(fact, list(by_stratum.values()), at_step=at_step, hold=hold, min_count=min_count)
        if reason is None:
            assert row["not_tested_because"] is None
            _check_the_statistics(row, list(by_stratum.values()), is_stratified=bool(hold))
        else:
            assert reason in row["not_tested_because"], fact
            assert {row[name] for name in STATISTICS} == {None}
        assert row["inseparable_from"] == _only_stratum(by_stratum, hold)
    tested = [row for row in found if row["p"] is not None]
    assert tested == found[: len(tested)]
    assert [row["p"] for row in tested] == sorted(row["p"] for row in tested)
    if tested:
        _, corrected, *_ = MULTITEST.multipletests([row["p"] for row in tested], method="fdr_bh")
        assert [row["q"] for row in tested] == pytest.approx([*corrected], rel=1e-12)


STATISTICS = ("odds_ratio", "odds_ratio_low", "odds_ratio_high", "test", "p", "q", "breslow_day", "breslow_day_p")


def _reason(fact: Fact, cells: Sequence[Cells], *, at_step: str, hold: Sequence[str], min_count: int) -> str | None:
    """A part of what the row must say of why it is not tested."""
    kind, factor, value = fact
    exposed, unexposed = (sum(table[n] + table[n + 1] for table in cells) for n in (0, 2))
    both = [table for table in cells if sum(table[:2]) and sum(table[2:])]
    if kind in ("claim", "environment", "trigger", "hour") and factor in hold:
        return "it is held"
    if kind == "again" and factor == at_step:
        return f"only after the first {at_step}"
    if value is None:
        return "more than 20 values" if kind == "claim" else f"readable report of errors by its first {at_step}"
    if exposed < min_count:
        return f"fewer than {min_count} sessions with it: {exposed}"
    if unexposed < min_count:
        return f"fewer than {min_count} sessions without it: {unexposed}"
    if not both:
        return "no stratum has sessions with it and sessions without it"
    return None if used_of(cells) else "no stratum with both has sessions of either outcome"


def used_of(cells: Sequence[Cells]) -> list[Cells]:
    """The strata whose margins are all above 0."""
    return [(a, b, c, d) for a, b, c, d in cells if a + b and c + d and a + c and b + d]


def _check_the_table(row: dict[str, Any], cells: Sequence[Cells]) -> None:
    if row["value"] is None:
        assert (row["exposed_count"], row["unexposed_count"], row["unknown_count"]) == (None, None, None)
        return
    a, b, c, d = (sum(table[n] for table in cells) for n in range(4))
    for arm, converted, count in (("exposed", a, a + b), ("unexposed", c, c + d)):
        assert (row[f"{arm}_converted_count"], row[f"{arm}_count"]) == (converted, count)
        told = [row[f"{arm}_{name}"] for name in ("rate", "rate_low", "rate_high")]
        if count:
            ends = PROPORTION.proportion_confint(converted, count, method="wilson")
            assert told == pytest.approx([converted / count, *ends], abs=1e-9)
        else:
            assert told == [None, None, None]
    assert row["unknown_count"] == row["session_count"] - a - b - c - d
    # No sessions, no strata.
    assert (row["strata_count"] or 0, row["strata_used_count"] or 0) == (len(cells), len(used_of(cells)))


def _check_the_statistics(row: dict[str, Any], cells: Sequence[Cells], *, is_stratified: bool) -> None:
    used = used_of(cells)
    pooled = odds_ratio(cells)
    oracle = TABLES.StratifiedTable(np.array([[[a, b], [c, d]] for a, b, c, d in used], dtype=float).transpose(1, 2, 0))
    if is_stratified:
        assert row["test"] == "mantel_haenszel"
        assert row["p"] == pytest.approx(STATS.chi2.sf(float(mantel_haenszel(used)), 1), rel=1e-9, abs=1e-300)
        assert row["p"] == pytest.approx(oracle.test_null_odds(correction=False).pvalue, abs=1e-9)
    else:
        assert row["test"] == "fisher"
        ((a, b, c, d),) = cells
        assert row["p"] == pytest.approx(float(fisher((a, b, c, d))), rel=1e-9)
        assert row["p"] == pytest.approx(STATS.fisher_exact([[a, b], [c, d]]).pvalue, rel=1e-9)
    assert row["odds_ratio"] == (None if pooled is None else pytest.approx(float(pooled), rel=1e-12))
    ends = (row["odds_ratio_low"], row["odds_ratio_high"])
    if pooled:
        assert row["odds_ratio"] == pytest.approx(oracle.oddsratio_pooled, rel=1e-9)
        assert ends == pytest.approx(oracle.oddsratio_pooled_confint(), rel=1e-9)
    else:
        assert ends == (None, None)
    if not pooled or len(used) < 2:
        assert (row["breslow_day"], row["breslow_day_p"]) == (None, None)
        return
    statistic = _breslow_day(used, float(pooled))
    assert row["breslow_day"] == pytest.approx(statistic, rel=1e-6, abs=1e-9)
    assert row["breslow_day_p"] == pytest.approx(STATS.chi2.sf(statistic, len(used) - 1), rel=1e-6)
    # It divides by 1 less the odds ratio.
    if pooled != 1:
        assert row["breslow_day"] == pytest.approx(oracle.test_equal_odds(adjust=False).statistic, rel=1e-6, abs=1e-9)


def _breslow_day(cells: Sequence[Cells], ratio: float) -> float:
    """With the fitted counts found by halving."""
    total = 0.0
    for a, b, c, d in cells:
        low, high = float(max(0, a - d)), float(min(a + b, a + c))
        for _ in range(200):
            x = (low + high) / 2
            ratio_of_x = x * (d - a + x) / ((a + b - x) * (a + c - x)) if x < min(a + b, a + c) else inf
            low, high = (x, high) if ratio_of_x < ratio else (low, x)
        x = (low + high) / 2
        total += (a - x) ** 2 * (1 / x + 1 / (a + b - x) + 1 / (a + c - x) + 1 / (d - a + x))
    return total


def _only_stratum(by_stratum: Mapping[Stratum, Cells], hold: Sequence[str]) -> str | None:
    """Of several, the one with all sessions that have the fact, or else with all that do not, and some that do."""
    if len(by_stratum) < 2:
        return None
    exposed = [stratum for stratum, (a, b, _, _) in by_stratum.items() if a + b]
    unexposed = [stratum for stratum, (_, _, c, d) in by_stratum.items() if c + d]
    if len(exposed) == 1:
        (only,) = exposed
    elif len(unexposed) == 1 and unexposed[0] in exposed:
        (only,) = unexposed
    else:
        return None
    return ", ".join(f"{name} = {'NULL' if value is None else value}" for name, value in zip(hold, only, strict=True))
