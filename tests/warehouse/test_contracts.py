"""A model that does not keep to its kind is refused in one line that names its file and the way out."""

from pathlib import Path

import pytest

from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.models import SQL, load_models
from pipelines.warehouse.sql_errors import ModelError

UNIT = """-- Sessions.
-- grain: embed_id
-- refresh: embed_id
{directives}select
    embed_id, -- the session
    {column}, -- something
from {relations}
group by embed_id
"""
MERGE = """-- Embeds.
-- grain: embed_id
-- refresh: merge
select
    embed_id, -- the embed; not null
    {columns}
from {relations}
qualify row_number() over (partition by embed_id order by {order}) = 1
"""


def unit(column: str = "count(*) as n", relations: str = "stg_embed_events", directives: str = "") -> str:
    return UNIT.format(column=column, relations=relations, directives=directives)


def merge(columns: str = "status, -- s", relations: str = "source.embeds", order: str = "status") -> str:
    return MERGE.format(columns=columns, relations=relations, order=order)


def of_kind(kind: str, sql: str) -> str:
    return f"-- A model.\n-- refresh: {kind}\n{sql}"


TIME = "min((select data_through from source.parameters)) as t"

REFUSED = {
    "no unit column": (of_kind("embed_id", "select 1 as n, -- n\nfrom fct_embeds"), "has no column of that name"),
    "an input without the unit": (
        unit(relations="stg_embed_events cross join meta_build"),
        "reads meta_build, which has no such column",
    ),
    "time that is not declared": (unit(TIME), "reads data_through and does not say when its rows change"),
    "time in another's moment": (
        unit(TIME, directives="-- time: plausible_until reaches stg_embed_events.occurred_at\n"),
        "reads data_through and does not say",
    ),
    "a moment that is none": (unit(TIME, directives="-- time: tomorrow\n"), "not of the form `-- time: <data_through"),
    "a moment of no table": (
        unit(TIME, directives="-- time: data_through reaches occurred_at\n"),
        "needs columns of one table",
    ),
    "a moment of a table that is not read": (
        unit(TIME, directives="-- time: data_through reaches stg_embeds.fetched_at\n"),
        "rows of stg_embeds, which it does not read",
    ),
    "a moment that does not parse": (unit(TIME, directives="-- time: data_through reaches a.b +\n"), "cannot be read"),
    "every parameter at once": (
        unit("count(*) as n", "(select * from stg_embed_events cross join source.parameters)"),
        r"selects \* from source.parameters",
    ),
    "a partitioned source": (unit(relations="source.embed_events"), "reads source.embed_events, which a model of kind"),
    "a partitioned source, whole": (
        of_kind("whole", "select embed_id, -- e\nfrom source.embed_events"),
        "shows only what changed: read the staged model",
    ),
    "a source that does not exist": (of_kind("whole", "select 1 as a, -- a\nfrom source.nope"), "which does not exist"),
    "a view of a source": (of_kind("view", "select path, -- p\nfrom source.claims"), "A view reads models alone"),
    "a staged model of a later one": (
        of_kind("lake_partition", "select lake_partition, -- p\nfrom meta_coverage"),
        "reads meta_coverage, which a model of kind lake_partition cannot",
    ),
    "time in a staged model": (
        of_kind(
            "lake_partition",
            "select event_date as lake_partition, -- p\nfrom source.quarantine\n"
            "where fetched_at < (select data_through from source.parameters)",
        ),
        "it is not known yet",
    ),
    "another schema": (unit(relations="main.stg_embed_events"), "name a model alone, without its schema"),
    "another database": (unit(relations="published.main.fct_embeds"), "name a model alone, without its schema"),
    "a CTE named like a model": (
        of_kind("whole", "with Fct_Embeds as (select 1 as n)\nselect n, -- n\nfrom fct_embeds"),
        "names a CTE fct_embeds, which is a model",
    ),
    "two columns of one name": (of_kind("whole", "select 1 as a, -- a\n2 as A, -- a\n"), "two columns named A"),
    "merge without a source": (merge(relations="stg_embeds"), "reads stg_embeds, which a model of kind merge cannot"),
    "merge of two": (
        merge(relations="source.embeds cross join source.sweeps"),
        "does not read one of source.embeds, source.sweeps, source.webhook_gaps",
    ),
    "merge without a key": (merge().replace("-- grain: embed_id\n", ""), "needs a line `-- grain:`"),
    "merge of a key that may be NULL": (merge().replace("; not null", ""), "needs a line `-- grain:`"),
    "merge that counts": (merge("count(*) as status, -- s"), "its column status is not the one of source.embeds"),
    "merge that adds": (merge("upper(status) as shout, -- s"), "its column shout is not the one of source.embeds"),
    "merge that renames": (merge("template_key as status, -- s"), "its column status is not the one of source.embeds"),
    "merge that orders by what it drops": (merge(order="fetched_at"), "reads fetched_at without keeping it"),
    "a model that reads itself": (unit(relations="extra"), r"circle: sql/extra.sql is read by sql/extra.sql\."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of sql/."""
    for path in SQL.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("sql", "told"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_line(folder: Path, sql: str, told: str) -> None:
    (folder / "extra.sql").write_text(sql)
    with pytest.raises(ModelError, match=told) as refusal:
        load_models(folder)
    assert "sql/extra.sql" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_name_that_no_table_has_is_refused(folder: Path) -> None:
    (folder / "My Model.sql").write_text(of_kind("whole", "select 1 as a, -- a\n"))
    with pytest.raises(ModelError, match=r"sql/My Model\.sql has a name that a table cannot have"):
        load_models(folder)


KEPT = {
    "a unit": unit(),
    "upper case": unit("Count(*) AS N", "STG_EMBED_EVENTS").replace("embed_id, --", "Embed_ID, --"),
    "a settled source": unit("min(step) as s", "stg_embed_events cross join source.funnel_steps"),
    "its own moment": unit(TIME, directives="-- time: data_through reaches extra.t + idle_after\n"),
    "a table function": of_kind("whole", "select g, -- g\nfrom generate_series(1, 3) as t(g)"),
    "another table function": of_kind("whole", "select unnest, -- g\nfrom fct_embeds, unnest([1, 2])"),
    "a quoted column": of_kind("whole", 'select template_key as "Template Key", -- t\nfrom fct_embeds'),
    "a merge": merge(),
    "a merge that tidies up": merge("trim(status) as status, -- s"),
    "a key of two columns": merge("sweep_id, -- s; not null", order="sweep_id").replace("grain: ", "grain: sweep_id, "),
}


@pytest.mark.parametrize("sql", KEPT.values(), ids=KEPT)
def test_what_keeps_to_its_kind_is_read(folder: Path, sql: str) -> None:
    (folder / "extra.sql").write_text(sql)
    assert "extra" in [model.name for model in load_models(folder)]


CHECK = """-- A check.
-- table: fct_embeds
-- severity: warn
-- scope: {scope}
select {column}
from {relations}
"""
CHECKS = {
    "a table that is not a model": ("embed_id", "embed_id", "nowhere", "names nowhere, which is not a model"),
    "a table that is replaced whole": ("embed_id", "embed_id", "rpt_stuck_embeds", "by which rpt_stuck_embeds cannot"),
    "a table without the unit": ("event_date", "embed_id", "fct_embeds", "by which fct_embeds cannot be narrowed"),
    "a source": ("embed_id", "path", "fct_embeds cross join source.home", "reads source.home, which has none"),
    "the time": (
        "embed_id",
        "embed_id",
        "stg_embeds where fetched_at < (select data_through from source.parameters)",
        "as time passes, rows fail that did not change",
    ),
    "a macro": ("embed_id", "part as embed_id", "explain_change()", r"calls explain_change\(\), which reads more"),
}


@pytest.mark.parametrize(("scope", "column", "relations", "told"), CHECKS.values(), ids=CHECKS)
def test_a_check_that_its_scope_does_not_narrow_is_refused(
    tmp_path: Path, scope: str, column: str, relations: str, told: str
) -> None:
    text = CHECK.format(scope=scope, column=column, relations=relations)
    (tmp_path / "extra.sql").write_text(text)
    with pytest.raises(ModelError, match=told) as refusal:
        load_checks.__wrapped__(tmp_path)
    assert str(refusal.value).startswith("sql/checks/extra.sql")
    # Over all rows it is a check like any other; what does not exist stays wrong.
    (tmp_path / "extra.sql").write_text(text.replace(f"-- scope: {scope}\n", "").replace("nowhere", "fct_embeds"))
    assert "extra" in [check.name for check in load_checks.__wrapped__(tmp_path)]
