"""The rule's promises, over generated lives of an embed."""

import math
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.poll.frontier import FrontierRule
from tests.proving import examples

START = datetime(2026, 1, 1)
HOUR = timedelta(hours=1)

rules = st.builds(
    FrontierRule,
    idle_after=st.integers(1, 72).map(lambda hours: hours * HOUR),
    settle_after=st.integers(5, 400).map(lambda days: timedelta(days=days)),
    retention=st.none() | st.integers(2, 400).map(lambda days: timedelta(days=days)),
)


def polls_of_an_idle_embed(rule: FrontierRule, sweep_interval: timedelta) -> list[datetime]:
    """When hourly sweeps ask an embed whose only event was at START, until it settles."""
    polls: list[datetime] = []
    now = due = START
    while due is not None:
        while now < due:
            now += sweep_interval
        polls.append(now)
        due = rule.next_due_at(now, START)
        now += sweep_interval
    return polls


@pytest.mark.prove
@settings(max_examples=examples(60))
@given(rules)
def test_polls_grow_with_the_logarithm_of_age_and_never_lie_further_apart_than_promised(rule: FrontierRule) -> None:
    polls = polls_of_an_idle_embed(rule, HOUR)
    gaps = [later - earlier for earlier, later in pairwise(polls)]
    assert max(gaps, default=HOUR) <= rule.longest_interval + HOUR
    open_polls = sum(poll - START <= rule.idle_after for poll in polls)
    assert open_polls <= rule.idle_after / HOUR + 1
    ratio = max(rule.settle_after / rule.idle_after, 1)
    uncapped = math.log(ratio) / math.log(1 + rule.growth) + 2
    capped = rule.settle_after / rule.longest_interval + 1
    assert len(polls) - open_polls <= uncapped + capped


@pytest.mark.prove
@settings(max_examples=examples(200))
@given(rules, st.integers(0, 10_000))
def test_one_poll_at_a_time(rule: FrontierRule, idle_hours: int) -> None:
    now = START + idle_hours * HOUR
    due = rule.next_due_at(now, START)
    if now - START <= rule.idle_after:
        assert due == now
    elif now - START > rule.settle_after:
        assert due is None
    else:
        assert due is not None
        assert timedelta(0) < due - now <= rule.longest_interval
        assert rule.retention is None or due - now <= rule.retention / 4


@pytest.mark.prove
@settings(max_examples=examples(100))
@given(rules, st.integers(1, 5000))
def test_refused_embeds_are_tried_again_within_the_longest_interval(rule: FrontierRule, failures: int) -> None:
    wait = rule.next_try_at(START, failures) - START
    assert timedelta(0) < wait <= rule.longest_interval
