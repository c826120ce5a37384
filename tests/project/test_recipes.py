"""Each recipe of CONTRIBUTING.md is followed in a copy of the repository: its files are enough, the thing arrives."""

import jwt
import pytest

from tests.project.checkout import Checkout

pytestmark = pytest.mark.slow

EVENT: dict[str, object] = {
    "uuid": "event-1",
    "id": 1,
    "event_type": "embed_initialized",
    "trigger_type": "user",
    "created_at": 1769598000,
}


def embed(*events: dict[str, object], **claims: object) -> dict[str, object]:
    token = jwt.encode({"iss": "client", "user_id": "u1", **claims}, "s" * 32)
    return {"id": 99, "template_key": "planted", "status": "initialized", "user_jwt": token, "events": events}


def test_an_event_type(checkout: Checkout) -> None:
    sql = "select is_known, description, event_count from meta_event_types where event_type = 'sheet_exported'"
    exported = embed(EVENT, EVENT | {"uuid": "event-2", "event_type": "sheet_exported"})
    before = checkout.publish(sql, exported)
    assert before.rows == [(False, None, 1)]
    assert "event_types_known" in before.failed_checks
    checkout.insert(
        "pipelines/oneschema/vocabulary.py", "EVENT_TYPES", '    "sheet_exported": "the sheet is exported",\n'
    )
    checkout.insert("docs/vendor-api.md", "| `import_submitted` |", "| `sheet_exported` | the sheet is exported | |\n")
    after = checkout.publish(sql, exported)
    assert after.rows == [(True, "the sheet is exported", 1)]
    assert "event_types_known" not in after.failed_checks
    assert checkout.followed("An event type")


def test_a_field_of_the_vendors_event(checkout: Checkout) -> None:
    counted = embed(EVENT | {"row_total": 7}, EVENT | {"uuid": "event-2", "row_total": "many"})
    before = checkout.publish("select extra from stg_embed_events where extra is not null order by extra", counted)
    assert before.rows == [('{"row_total":"many"}',), ('{"row_total":7}',)]
    checkout.insert(
        "pipelines/oneschema/event_fields.py",
        "EVENT_FIELDS",
        '    EventField("row_total", "row_total", INTEGER, "rows of the sheet when it happened"),\n',
    )
    checkout.insert("sql/stg_embed_events.sql", "extra, --", "row_total, -- rows of the sheet when it happened\n")
    checkout.insert("docs/vendor-api.md", "| `has_snapshot` |", "| `row_total` | integer | rows of the sheet |\n")
    checkout.make_dictionary()
    after = checkout.publish(
        "select event_uuid, row_total, extra, (select any_value(field) from meta_quarantine) "
        "from stg_embed_events where event_uuid in ('event-1', 'event-2') order by event_uuid",
        counted,
    )
    assert after.rows == [("event-1", 7, None, "row_total"), ("event-2", None, None, "row_total")]
    assert checkout.followed("A field of the vendor's event")


def test_a_field_of_the_vendors_list_of_embeds(checkout: Checkout) -> None:
    listed = embed(EVENT) | {"sheet_name": "Q3"}
    checkout.insert(
        "pipelines/oneschema/embed_fields.py",
        "EMBED_FIELDS",
        '    EmbedField("sheet_name", TEXT, "name of the sheet"),\n',
    )
    checkout.insert("sql/stg_embeds.sql", "status, --", "sheet_name, -- name of the sheet\n")
    checkout.insert("docs/vendor-api.md", "| `imported_row_count` |", "| `sheet_name` | string | name of the sheet |\n")
    checkout.make_dictionary()
    after = checkout.publish("select sheet_name, status from stg_embeds where embed_id = 99", listed)
    assert after.rows == [("Q3", "initialized")]
    assert checkout.followed("A field of the vendor's list of embeds")


def test_a_setting(checkout: Checkout) -> None:
    code = "from pipelines.settings import load_settings; print(load_settings().embed_analytics_colour)"
    table = "from pipelines.settings import settings_table; print(settings_table())"
    before = checkout.python(table)
    checkout.insert(
        "pipelines/settings.py",
        "embed_analytics_keep_warehouses",
        '    embed_analytics_colour: Literal["red", "blue"] = Field("red", description="Colour of the charts")\n',
    )
    assert checkout.python(code) == "red"
    assert checkout.python(code, EMBED_ANALYTICS_COLOUR="blue") == "blue"
    with pytest.raises(AssertionError, match="EMBED_ANALYTICS_COLOUR: Input should be 'red' or 'blue'"):
        checkout.python(code, EMBED_ANALYTICS_COLOUR="green")
    assert "| `EMBED_ANALYTICS_COLOUR` | `red` | Colour of the charts |" in checkout.python(table)
    checkout.replace("README.md", before, checkout.python(table))
    assert checkout.followed("A setting")


# Publishes what a home holds, with the settings of now; and says which models another value makes stale.
AGAIN = """
from pipelines import steps
from pipelines.settings import Settings, load_settings
from pipelines.warehouse.models import load_models
from pipelines.warehouse.parameters import Parameters
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.versions import versions_of

settings = load_settings()
report = steps.publish(settings, on_wait=print)
with connect_published(settings.home) as connection:
    rows = connection.execute(SQL).fetchall()
versions = [versions_of(load_models(), Parameters.from_settings(each)) for each in (settings, Settings.defaults())]
print(report.is_full, rows, [name for name in versions[0] if versions[0][name] != versions[1][name]])
"""


def test_a_setting_that_a_model_reads(checkout: Checkout) -> None:
    sql = "select operation from fct_sheet_operations_daily where template_key = 'planted'"
    unsaid = embed(EVENT, EVENT | {"uuid": "event-2", "event_type": "sheet_operation_performed"})
    home = str(checkout.root / "home")
    table = "from pipelines.settings import settings_table; print(settings_table())"
    before = checkout.python(table)
    checkout.insert(
        "pipelines/settings.py",
        "embed_analytics_keep_warehouses",
        "    embed_analytics_unsaid_operation: Annotated[str | None, FOR_MODELS] = "
        'Field(None, description="Name of operations that events do not name")\n',
    )
    checkout.replace(
        "sql/fct_sheet_operations_daily.sql",
        "    operation, --",
        "    coalesce(operation, (select unsaid_operation from source.parameters)) as operation, --",
    )
    checkout.replace("README.md", before, checkout.python(table))
    assert checkout.publish(sql, unsaid, EMBED_ANALYTICS_HOME=home).rows == [(None,)]

    changed = {"EMBED_ANALYTICS_HOME": home, "EMBED_ANALYTICS_UNSAID_OPERATION": "it's \u00e9dited"}
    again = checkout.python(f"SQL = {sql!r}\n{AGAIN}", **changed)

    assert again == "False [(\"it's \u00e9dited\",)] ['fct_sheet_operations_daily']"
    assert checkout.followed("A setting that a model reads", name="fct_sheet_operations_daily")


MODEL = """-- Sessions that began on a day.
-- grain: entry_date
-- refresh: whole
select
    entry_date, -- UTC date on which they began
    count(*) as session_count, -- sessions
from fct_embeds
group by entry_date
order by entry_date
"""


def test_a_model(checkout: Checkout) -> None:
    checkout.add("sql/fct_sessions_daily.sql", MODEL)
    checkout.make_dictionary()
    answer = checkout.publish(
        "select sum(session_count)::int, (select count(*) from fct_embeds), any_value(comment) "
        "from fct_sessions_daily, duckdb_columns() where table_name || column_name = 'fct_sessions_dailysession_count'",
        embed(EVENT),
    )
    assert answer.rows == [(answer.rows[0][1], answer.rows[0][1], "sessions")]
    assert "| `session_count` | sessions |" in (checkout.root / "docs/dictionary.md").read_text(encoding="utf-8")
    graph = checkout.python(
        "from pipelines.definitions import defs\n"
        "graph = defs.get_repository_def().asset_graph\n"
        "node = next(node for node in graph.asset_nodes if node.key.path[-1] == 'fct_sessions_daily')\n"
        "print([key.path[-1] for key in node.parent_keys], node.description.splitlines()[0])"
    )
    assert graph == "['fct_embeds'] Sessions that began on a day."
    assert checkout.followed("A model", name="fct_sessions_daily")


CHECK = """-- No session has two events.
-- table: fct_embeds
-- severity: {severity}
-- finds: sessions with more than one event: {{embed_id}}
-- scope: embed_id
select embed_id, event_count
from fct_embeds
where event_count >= 2
"""


@pytest.mark.parametrize("severity", ["warn", "error"])
def test_a_check(checkout: Checkout, severity: str) -> None:
    checkout.add("sql/checks/fct_embeds_short.sql", CHECK.format(severity=severity))
    checkout.make_dictionary()
    if severity == "error":
        with pytest.raises(AssertionError, match=r"not published.*fct_embeds_short"):
            checkout.publish("select 1", embed(EVENT))
    else:
        assert "fct_embeds_short" in checkout.publish("select 1", embed(EVENT)).failed_checks
    assert "unless: No session has two events." in (checkout.root / "docs/dictionary.md").read_text(encoding="utf-8")
    assert checkout.followed("A check", name="fct_embeds_short")


CHART = """-- Events of all days by type
-- kind: by_category
-- unit: events
select event_type as category, trigger_type as series, sum(event_count)::bigint as row_count
from fct_events_daily
group by category, series
order by category, series
"""


def test_a_chart(checkout: Checkout) -> None:
    home = str(checkout.root / "home")
    checkout.publish("select 1", embed(EVENT), EMBED_ANALYTICS_HOME=home)
    shown = (
        "from pipelines.orchestration.presentation import published_tables\n"
        "from pipelines.settings import load_settings\n"
        "print('data:image' in (published_tables(load_settings().home)['fct_events_daily'].chart or ''))"
    )
    assert checkout.python(shown, EMBED_ANALYTICS_HOME=home) == "False"
    checkout.add("sql/charts/fct_events_daily.sql", CHART)
    checkout.make_dictionary()
    assert checkout.python(shown, EMBED_ANALYTICS_HOME=home) == "True"
    page = (checkout.root / "docs/dictionary.md").read_text(encoding="utf-8")
    assert "- Chart in Dagster: Events of all days by type" in page
    assert checkout.followed("A chart", name="fct_events_daily")


def test_a_claim_type(checkout: Checkout) -> None:
    types = {"EMBED_ANALYTICS_CLAIM_TYPES": '{"seats": "INTEGER"}'}
    with pytest.raises(AssertionError, match="EMBED_ANALYTICS_CLAIM_TYPES: 'seats' is declared 'INTEGER'"):
        checkout.publish("select 1", **types)
    checkout.insert(
        "pipelines/flatten/claim_columns.py",
        "CLAIM_TYPES",
        '    "INTEGER": (pl.Int32(), lambda texts, dtype: texts.cast(dtype, strict=False)),\n',
    )
    answer = checkout.publish(
        "select claim_seats, typeof(claim_seats), "
        "(select count(*)::int from meta_quarantine where field = 'claims.seats') "
        "from stg_embed_events where claim_seats is not null",
        embed(EVENT, seats=40),
        embed(EVENT | {"uuid": "event-2"}, seats="many") | {"id": 100},
        **types,
    )
    assert answer.rows == [(40, "INTEGER", 1)]
    assert checkout.followed("A claim type")


def test_a_funnel_step(checkout: Checkout) -> None:
    knows_the_steps = (
        "tests/warehouse/test_funnel_steps.py::test_every_place_that_is_named_after_a_step_knows_the_steps"
    )
    vocabulary = "pipelines/oneschema/vocabulary.py"
    added = '    FunnelStep(5, "sheet_operation_performed", is_optional=True),\n'
    checkout.replace(vocabulary, "FunnelStep(5,", "FunnelStep(6,")
    checkout.insert(vocabulary, "FunnelStep(4,", added)
    with pytest.raises(AssertionError, match=r"sql/fct_embeds\.sql: a column seconds_to_<step>"):
        checkout.passes(knows_the_steps)
    checkout.insert(
        "sql/fct_embeds.sql",
        "min(timed_at) filter (event_type = 'columns_mapped') as",
        "min(timed_at) filter (event_type = 'sheet_operation_performed') as done_at,\n",
    )
    checkout.insert(
        "sql/fct_embeds.sql",
        "date_diff('microsecond', entry_at, if(entry_at = first_event_at, columns_mapped_at,",
        "date_diff('microsecond', entry_at, if(entry_at = first_event_at, first_operation_at, done_at)) / 1e6 "
        "as seconds_to_operation, -- seconds from the entry\n",
    )
    checkout.insert(
        "sql/fct_embed_funnel_daily.sql",
        "when 'columns_mapped' then",
        "when 'sheet_operation_performed' then seconds_to_operation\n",
    )
    for model in ("sql/rpt_stuck_embeds.sql", "sql/rpt_step_times.sql"):
        checkout.replace(model, "seconds_to_mapping, ", "seconds_to_mapping, seconds_to_operation, ")
    checkout.replace("sql/rpt_step_times.sql", "columns_mapped_at, ", "columns_mapped_at, first_operation_at, ")
    checkout.make_dictionary()
    assert "1 passed" in checkout.passes(knows_the_steps)
    assert checkout.followed("A funnel step")


def test_a_simulator_fault(checkout: Checkout) -> None:
    ask = (
        "import httpx\n"
        "from pipelines.simulator.faults import parse_faults\n"
        "from pipelines.simulator.options import SimulatorOptions\n"
        "from pipelines.simulator.server import running_simulator\n"
        "with running_simulator(SimulatorOptions(embeds=1, faults=parse_faults('empty=1'))) as simulator:\n"
        "    answer = httpx.get(simulator.url + '/whoami', headers={'X-API-KEY': simulator.api_key})\n"
        "print(answer.status_code, answer.content)"
    )
    with pytest.raises(AssertionError, match="Unknown fault 'empty' in --faults; known: 429, "):
        checkout.python(ask)
    checkout.insert("pipelines/simulator/faults.py", "FAULTS", '    "empty": "200 with an empty body",\n')
    other = '        elif fault == "not-json":\n'
    branch = '        elif fault == "empty":\n            await _respond(send, 200, b"")\n'
    checkout.replace("pipelines/simulator/gate.py", other, branch + other)
    assert checkout.python(ask) == "200 b''"
    assert checkout.followed("A simulator fault")
