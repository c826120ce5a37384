"""A published warehouse whose names are as bad as names can be, and the page of it."""

from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from pipelines.report.page import write_page
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from tests.warehouse.lake import START, Lake, event

DAYS = 75
DATA_THROUGH = START + timedelta(days=DAYS)

# The longest have no space to break at; one is what the page itself writes for all, one what it writes in addresses.
TEMPLATES = [
    "products",
    "all",
    "all templates",
    "?",
    "",
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "'; drop table fct_embeds; --",
    '=HYPERLINK("http://x.invalid")',
    "x" * 300,
    "\u202eevil\u2028&amp;%23#&template==all",
    None,
]
PLANS = ["gold", "all", "<b>free</b>", None]
ENVIRONMENTS = ["Production", "all", None]
# Two have one name, and one has none. Of the third fewer submit in the last 28 mature days.
CUSTOMERS = ["Acme", "Acme", "<img src=x onerror=window.hacked=2>", "=cmd|' /C calc'!A0", "y" * 300, " ", None]
CUSTOMER_IDS = ["1", "2", "</script><b>3", "'; drop table x; --4", "all", "6\u202e", "nameless"]
FALLEN = 2
FALLEN_FROM = START + timedelta(days=39)
HOSTILE_USER = "<script>window.hacked=3</script>"
# The number of the first is larger than the whole numbers that JavaScript knows.
LARGE = str(2**53 + 1)
STUCK = {int(LARGE): "products", 2001: TEMPLATES[5], 2002: None}
STEPS = ["embed_initialized", "file_uploaded", "columns_mapped", "import_submitted"]

# Among them what JavaScript, Vega's expressions and its fields would take for their own.
COLUMNS = [
    "sku",
    "__proto__",
    "constructor",
    "",
    "<img src=x onerror=window.hacked=2>",
    "</script><script>window.hacked=2</script>",
    "datum['x']",
    "price.amount[0]",
    '=HYPERLINK("http://x.invalid")',
    "\u202eyek\u2028",
    "y" * 300,
]
CODES = ["MISSING", "__proto__", "toString", " ", "<b>bold</b>", "'; drop table fct_embeds; --", "z" * 200]
OPERATIONS = ["set_cell_value", "__proto__", "<i>fill</i>", "no operation", "{{x}}", "", None]


def settings(lake: Lake) -> Settings:
    return Settings.defaults(
        embed_analytics_home=lake.home.root,
        embed_analytics_plan_claim="plan",
        embed_analytics_customer_claim="customer",
        embed_analytics_customer_id_claim="customer_id",
    )


def claims_of(embed_id: int, customer: int) -> dict[str, Any]:
    """Who it was: a person, of one of CUSTOMERS, whose id is its place among them."""
    claims = {"user_id": f"person-{embed_id}@example.invalid", "email": f"mail-{embed_id}@example.invalid"}
    name = CUSTOMERS[customer]
    return claims | {"customer_id": CUSTOMER_IDS[customer]} | ({} if name is None else {"customer": name})


def stuck_events() -> list[dict[str, Any]]:
    """The sessions STUCK, which have stopped at the mapping of their columns; some may still be helped."""
    events: list[dict[str, Any]] = []
    for place, (embed_id, template) in enumerate(STUCK.items()):
        moment = DATA_THROUGH - timedelta(hours=5 * place, minutes=50)
        claims = claims_of(embed_id, 2) | {"user_id": HOSTILE_USER, "plan": "gold"}
        for number, step in enumerate(STEPS[:3]):
            counts = {"<b>sku</b>": {"'; drop": 3 + place}, "price": {"=1+1": 1}} if number == 2 else None
            at = moment + timedelta(minutes=number)
            fields: dict[str, Any] = {"counts": counts, "claims": claims, "template_key": template}
            events.append(event(f"stuck-{place}-{number}", embed_id, step, at, **fields))
    return events


def publish(lake: Lake) -> None:
    """Sessions of every template, over DAYS days and up to now; some deliveries are known."""
    random = Random(3)
    events: list[dict[str, Any]] = []
    for embed_id in range(900):
        begun = START + timedelta(days=random.random() * DAYS)
        plan = random.choice(PLANS)
        customer = embed_id % len(CUSTOMERS)
        claims = claims_of(embed_id, customer) | ({} if plan is None else {"plan": plan})
        fields: dict[str, Any] = {
            "template_key": random.choice([TEMPLATES[0], random.choice(TEMPLATES)]),
            "environment_name": random.choice(ENVIRONMENTS),
            "claims": claims,
        }
        moment = begun
        step_count = random.choice([1, 2, 3, 4, 4])
        if customer == FALLEN and begun >= FALLEN_FROM:
            step_count = 2
        for number, step in enumerate(STEPS[:step_count]):
            counts = _errors(embed_id) if step == "columns_mapped" else None
            events.append(event(f"{embed_id}-{number}", embed_id, step, moment, counts=counts, **fields))
            if counts:
                events += _operations(embed_id, moment, fields)
            moment += timedelta(seconds=random.random() * 900)
    events += stuck_events()
    lake.write((row for row in events if row["occurred_at"] < DATA_THROUGH), {f"{START:%Y-%m-%d}": 2})
    statuses = ["imported", "imported", "import_failed"]
    lake.embeds(
        {"embed_id": number, "status": random.choice(statuses), "fetched_at": DATA_THROUGH}
        for number in range(0, 900, 2)
    )
    lake.sweep(DATA_THROUGH, failed_count=1)
    build(lake.home, BuildOptions(settings(lake), "test"))


def _errors(embed_id: int) -> dict[str, dict[str, int]]:
    random = Random(embed_id)
    pairs = [(random.choice([COLUMNS[0], random.choice(COLUMNS)]), random.choice(CODES)) for _ in range(embed_id % 4)]
    return {column: {code: 3 for other, code in pairs if other == column} for column, _ in pairs}


def _operations(embed_id: int, moment: datetime, fields: dict[str, Any]) -> list[dict[str, Any]]:
    random = Random(embed_id)
    return [
        event(
            f"{embed_id}-op{number}",
            embed_id,
            "sheet_operation_performed",
            moment + timedelta(seconds=number),
            operation=random.choice(OPERATIONS),
            trigger_type=random.choice(["user", "user", "api"]),
            **fields,
        )
        for number in range(embed_id % 3)
    ]


def page_of(lake: Lake, annotations: str = "") -> Path:
    if annotations:
        lake.home.annotations.write_text(annotations, encoding="utf-8")
    return write_page(settings(lake))
