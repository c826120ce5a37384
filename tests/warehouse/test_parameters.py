"""The settings that models may read: as columns of source.parameters, and as what makes a model stale."""

from datetime import date, datetime, timedelta
from typing import Annotated, Literal

import duckdb
import pytest
from pydantic import Field, SecretStr

from pipelines.settings import FOR_MODELS, Settings
from pipelines.warehouse import parameters, sources
from pipelines.warehouse.models import load_models
from pipelines.warehouse.parameters import Parameters
from pipelines.warehouse.versions import versions_of


class Marked(Settings):
    """Settings with one of each kind that a model can read."""

    embed_analytics_stall_after_minutes: Annotated[float | None, FOR_MODELS] = 1.5
    embed_analytics_keep_days: Annotated[int, FOR_MODELS] = 3
    embed_analytics_smallest_count: Annotated[int, FOR_MODELS] = 5
    embed_analytics_share: Annotated[float, FOR_MODELS] = 0.25
    embed_analytics_is_strict: Annotated[bool, FOR_MODELS] = True
    embed_analytics_label: Annotated[str | None, FOR_MODELS] = None
    embed_analytics_size: Annotated[Literal["small", "large"], FOR_MODELS] = "small"
    embed_analytics_opening: Annotated[date, FOR_MODELS] = date(2026, 1, 31)
    embed_analytics_team_claim: Annotated[str | None, FOR_MODELS] = "org.a~b/c"


def test_each_kind_arrives_with_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = parameters._marked(Marked)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(parameters, "PARAMETERS", marked)
    monkeypatch.setattr(sources, "PARAMETERS", marked)
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as source")
        sources.create_parameters(connection, Parameters.from_settings(Marked.defaults()))
        answer = connection.execute("select * from source.parameters")
        kinds = [(name, str(kind)) for name, kind, *_ in answer.description or []]
        row = answer.fetchone()
    assert row is not None
    found = {name: (kind, value) for (name, kind), value in zip(kinds, row, strict=True)}
    assert found == {
        "data_through": ("TIMESTAMP", None),
        "idle_after": ("INTERVAL", timedelta(hours=24)),
        "funnel_window": ("INTERVAL", timedelta(days=7)),
        "plausible_from": ("TIMESTAMP", datetime(2020, 1, 1)),
        "plausible_until": ("TIMESTAMP", datetime.max),
        "stall_after": ("INTERVAL", timedelta(seconds=90)),
        "keep": ("INTERVAL", timedelta(days=3)),
        "smallest_count": ("BIGINT", 5),
        "share": ("DOUBLE", 0.25),
        "is_strict": ("BOOLEAN", True),
        "label": ("VARCHAR", None),
        "size": ("VARCHAR", "small"),
        "opening": ("DATE", date(2026, 1, 31)),
        "oneschema_retention": ("INTERVAL", None),
        "team_claim": ("VARCHAR[]", ["/org/a~0b~1c", "/org.a~0b~1c"]),
        **dict.fromkeys(("customer_claim", "customer_id_claim", "plan_claim"), ("VARCHAR[]", None)),
    }


def test_what_sql_cannot_hold_is_refused_and_so_is_a_secret() -> None:
    class Secret(Settings):
        embed_analytics_password: Annotated[SecretStr | None, FOR_MODELS] = None

    class Table(Settings):
        embed_analytics_names: Annotated[dict[str, str], FOR_MODELS] = Field({})

    for settings, name in ((Secret, "embed_analytics_password"), (Table, "embed_analytics_names")):
        with pytest.raises(TypeError, match=f"{name} cannot be FOR_MODELS"):
            parameters._marked(settings)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("setting", "readers"),
    [
        ("embed_analytics_idle_after_hours", {"fct_embeds", "meta_build"}),
        (
            "embed_analytics_funnel_window_days",
            {"fct_embeds", "fct_embed_funnel_daily", "rpt_customers", "rpt_stuck_embeds", "meta_build"}
            | {"fct_metrics_daily", "rpt_metrics_recent"},
        ),
        ("embed_analytics_plan_claim", {"fct_embeds", "fct_metrics_daily", "rpt_metrics_recent"}),
        ("embed_analytics_settle_after_days", set[str]()),
    ],
)
def test_another_value_makes_the_models_that_read_it_stale_and_no_other(setting: str, readers: set[str]) -> None:
    models = load_models()
    both = (Settings.defaults(), Settings.defaults(**{setting: "3" if setting.endswith("_claim") else 3}))
    before, after = (versions_of(models, Parameters.from_settings(settings)) for settings in both)
    assert {name for name in before if before[name] != after[name]} == readers
