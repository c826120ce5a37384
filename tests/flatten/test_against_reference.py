"""The fast path gives what the reference gives, and the same whatever the order and the split of the deliveries."""

import json
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.flatten import claim_lists, claims
from pipelines.flatten.days import FlattenOptions, catalogues, flatten_days
from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS
from pipelines.home.layout import Home
from pipelines.oneschema.json_text import Json
from tests.flatten import reference
from tests.flatten.batches import batch
from tests.flatten.flattening import decoded, decoded_claims, land, read_table, rows_by_uuid, token_reader, write_raw
from tests.flatten.payloads import DELIVERIES, SECRETS
from tests.proving import examples

SMALL_BATCHES = st.lists(DELIVERIES, min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32)
LIMITS = st.sampled_from([64, 3])
SHORT_LIST = 3
PAIR_LIMITS = st.sampled_from([2_000, 3, 1])
SHORTEST_LISTS = st.sampled_from([128, SHORT_LIST])
POLICIES = st.sampled_from(
    [
        *[{}] * 3,
        {"user_id": "hash", "org": "drop"},
        {"*": "drop", "iss": "keep", "org.*": "hash", "org.id": "keep"},
        {"*a*": "hash", "a": "drop", "a.b": "keep", "n": "hash", "*.Plan Name": "drop"},
    ]
)


def plain(value: Any) -> Any:
    """Decoded JSON so that 1, 1.0, True and "1" differ."""
    return None if value is None else decoded(json.dumps(value))


def plain_claims(value: Json) -> Any:
    if isinstance(value, reference.Number):
        return ("number", str(value))
    if isinstance(value, dict):
        return {key: plain_claims(element) for key, element in value.items()}
    return [plain_claims(element) for element in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(120))
@given(deliveries=SMALL_BATCHES, limit=LIMITS, policy=POLICIES)
def test_agrees_with_the_reference_on_anything(
    deliveries: list[reference.Delivery], limit: int, policy: dict[str, str]
) -> None:
    agree(deliveries, limit, policy)


@pytest.mark.slow
@pytest.mark.parametrize("fewest_of_a_shape", [2, 64])
@pytest.mark.prove
@settings(max_examples=examples(150))
@given(seed=SEEDS, limit=LIMITS, policy=POLICIES, shortest_list=SHORTEST_LISTS, pair_limit=PAIR_LIMITS)
# Two tokens of one event that differ in a number and its text alone.
@example(seed=1552, limit=64, policy={}, shortest_list=128, pair_limit=2_000)
def test_agrees_with_the_reference(
    fewest_of_a_shape: int, seed: int, limit: int, policy: dict[str, str], shortest_list: int, pair_limit: int
) -> None:
    """With claims taken out by shape as soon as two payloads are alike, and parsed one by one; with all claim paths
    listed and with a few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "_FEWEST_OF_A_SHAPE", fewest_of_a_shape)
        agree(batch(seed), limit, policy, shortest_list, pair_limit)


@pytest.mark.slow
def test_batches_have_something_of_everything() -> None:
    """What is compared is worth comparing: generated deliveries may not degenerate unnoticed."""
    total: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for seed in range(250):
        raw, landed = land(batch(seed), token_reader(SECRETS))
        lake = reference.flatten(
            landed, limit=64, secrets=SECRETS, policy={}, folders=folders_of(raw), list_length=SHORT_LIST
        )
        total["deliveries"] += len(landed)
        total["rows"] += len(lake.events)
        total["merged"] += lake.merged_count
        total["rejected"] += len(lake.rejected)
        total["errors"] += len(lake.errors)
        total["zero errors"] += sum(count == 0 for *_, count in lake.errors)
        total["bad fields"] += len(lake.bad_fields)
        # Each field that a row can do without, and each place in the counts: the object, a column, a code.
        bad.update(
            f"counts, level {min(name.count('.'), 3)}" if name.startswith("data.validation_error_counts") else name
            for _, name, _ in lake.bad_fields
        )
        total["conflicts"] += lake.conflict_count
        total["claim paths"] += len(lake.catalogue)
        total["dates with unlisted paths"] += sum(count > 0 for count in lake.unlisted.values())
        total["counts that are not known"] += sum(count is None for _, count, _ in lake.catalogue.values())
        # No counts, counts that were read, counts of which some were not, and what is not an object.
        total.update(
            f"counts {event['has_error_counts']}, unread {event['has_unreadable_error_counts']}"
            for event in lake.events.values()
        )
        total.update(event["jwt_status"] for event in lake.events.values())
        total.update(event["source"] for event in lake.events.values())
    assert len([name for name in total if name.startswith("counts ") and "unread" in name]) == 4, total
    assert min(total.values()) > 30, total
    assert len(bad) == 11, bad
    assert min(bad.values()) >= 5, bad


def folders_of(raw: pl.DataFrame) -> dict[str, str]:
    return dict(raw.select("event_uuid", "event_date").drop_nulls().iter_rows())


def agree(
    deliveries: list[reference.Delivery],
    limit: int,
    policy: dict[str, str],
    shortest_list: int = 128,
    pair_limit: int = 2_000,
) -> None:
    raw, landed = land(deliveries, token_reader(SECRETS, policy))
    expected = reference.flatten(
        landed,
        limit=limit,
        secrets=SECRETS,
        policy=policy,
        folders=folders_of(raw),
        list_length=max(shortest_list, limit),
        pair_limit=pair_limit,
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_lists, "_SHORTEST_LIST", shortest_list)
        home = Home(Path(folder))
        write_raw(home, raw, "all")
        report = flatten_days(home, FlattenOptions(claim_column_limit=limit, column_key_limit=pair_limit))
        events = read_table(home.lake_embed_events)
        errors = read_table(home.lake_validation_errors)
        quarantined = read_table(home.quarantine)
        catalogue = catalogues(home)[1]

    claim_columns = [name for name in events.columns if name not in LAKE_EMBED_EVENTS.names]
    assert sorted(claim_columns) == sorted(expected.claim_columns.values())
    rows = rows_by_uuid(events)
    assert rows.keys() == expected.events.keys()
    assert events.height == len(rows)
    for uuid, row in rows.items():
        wanted = expected.events[uuid]
        assert decoded(row.pop("data")) == plain(wanted.pop("data"))
        assert decoded(row.pop("extra")) == plain(wanted.pop("extra"))
        assert decoded_claims(row.pop("claims")) == plain_claims(wanted.pop("claims"))
        assert row == wanted
    named = errors.select("event_uuid", "column_key", "error_code", "error_count").rows()
    assert len(named) == len(expected.errors)
    assert set(named) == expected.errors

    assert report.delivery_count == len(landed)
    assert report.merged_count == expected.merged_count
    assert report.quarantined_count == len(expected.rejected)
    assert report.delivery_count == report.event_count + report.merged_count + report.quarantined_count
    assert report.conflict_count == expected.conflict_count
    if quarantined.width:
        whole = quarantined.filter(pl.col("level") == "event")
        fields = quarantined.filter(pl.col("level") == "field")
        assert sorted(whole["digest"]) == sorted(expected.rejected)
        assert sorted(fields.select("event_uuid", "field", "digest").rows()) == sorted(expected.bad_fields)
    else:
        assert not expected.rejected
        assert not expected.bad_fields
    found = catalogue.select("path", "json_types", "event_count", "unlisted_date_count").rows()
    assert {path: tuple(known) for path, *known in found} == expected.catalogue
    unlisted = report.days.filter(pl.col("unlisted_claim_count") > 0).select("event_date", "unlisted_claim_count")
    assert dict(unlisted.iter_rows()) == {date: count for date, count in expected.unlisted.items() if count}


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(60))
@given(seed=SEEDS, shortest_list=SHORTEST_LISTS)
def test_order_and_split_do_not_matter(seed: int, shortest_list: int) -> None:
    """All at once in one home; in another in any order, file by file, flattened after each."""
    rng = Random(seed)
    raw, _ = land(batch(seed), token_reader(SECRETS))
    shuffled = raw[rng.sample(range(raw.height), raw.height)]
    cuts = sorted(rng.randint(0, raw.height) for _ in range(rng.randrange(4)))
    options = FlattenOptions(claim_column_limit=3)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_lists, "_SHORTEST_LIST", shortest_list)
        at_once, in_parts = Home(Path(folder) / "at-once"), Home(Path(folder) / "in-parts")
        write_raw(at_once, raw, "all")
        flatten_days(at_once, options)
        for number, (start, end) in enumerate(pairwise([0, *cuts, raw.height])):
            write_raw(in_parts, shuffled[start:end], f"part-{number}")
            flatten_days(in_parts, options)
        for table in ("lake_embed_events", "lake_validation_errors", "quarantine"):
            one, other = read_table(getattr(at_once, table)), read_table(getattr(in_parts, table))
            assert_frame_equal(one, other.select(one.columns))
        for one, other in zip(catalogues(at_once), catalogues(in_parts), strict=True):
            assert_frame_equal(one, other)
        assert flatten_days(in_parts, options).dates == []
