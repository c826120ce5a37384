"""The constraints that Dagster shows of a table are those that blocking checks keep."""

import pytest

from assets.metadata import model_schema
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import load_models


@pytest.mark.parametrize("model", load_models(), ids=lambda model: model.name)
def test_what_is_shown_is_checked(model: Model) -> None:
    blocking = {check.name: check.sql for check in load_checks() if check.severity == "error"}
    schema = model_schema(model, [(name, "", text) for name, text in model.columns.items()])
    constraints = {column.name: column.constraints for column in schema.columns}
    filled = {name for name, each in constraints.items() if not each.nullable}
    assert all(f'"{name}" is null' in blocking[f"{model.name}_not_null"] for name in filled)
    assert {name for name, each in constraints.items() if each.other} == set(
        model.grain if len(model.grain) > 1 else ()
    )
    assert [name for name, each in constraints.items() if each.unique] == list(
        model.grain if len(model.grain) == 1 else ()
    )
    assert bool(model.grain) == (f"{model.name}_unique" in blocking)


def test_a_column_is_marked_where_its_comment_says_so_and_no_other() -> None:
    (events,) = [model for model in load_models() if model.name == "stg_embed_events"]
    assert {"event_uuid", "occurred_at", "lake_partition"} <= set(events.required)
    assert not {"event_id", "template_key", "claims"} & set(events.required)
