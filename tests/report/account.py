"""A published warehouse whose names are as bad as names can be, and the page of it."""

from datetime import timedelta
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
STEPS = ["embed_initialized", "file_uploaded", "columns_mapped", "import_submitted"]


def settings(lake: Lake) -> Settings:
    return Settings.defaults(embed_analytics_home=lake.home.root, embed_analytics_plan_claim="plan")


def publish(lake: Lake) -> None:
    """Sessions of every template, over DAYS days and up to now; some deliveries are known."""
    random = Random(3)
    events: list[dict[str, Any]] = []
    for embed_id in range(900):
        begun = START + timedelta(days=random.random() * DAYS)
        plan = random.choice(PLANS)
        claims = {"user_id": "u"} if plan is None else {"user_id": "u", "plan": plan}
        fields: dict[str, Any] = {
            "template_key": random.choice([TEMPLATES[0], random.choice(TEMPLATES)]),
            "environment_name": random.choice(ENVIRONMENTS),
            "claims": claims,
        }
        moment = begun
        for number, step in enumerate(STEPS[: random.choice([1, 2, 3, 4, 4])]):
            events.append(event(f"{embed_id}-{number}", embed_id, step, moment, **fields))
            moment += timedelta(seconds=random.random() * 900)
    lake.write((row for row in events if row["occurred_at"] < DATA_THROUGH), {f"{START:%Y-%m-%d}": 2})
    statuses = ["imported", "imported", "import_failed"]
    lake.embeds(
        {"embed_id": number, "status": random.choice(statuses), "fetched_at": DATA_THROUGH}
        for number in range(0, 900, 2)
    )
    lake.sweep(DATA_THROUGH, failed_count=1)
    build(lake.home, BuildOptions(settings(lake), "test"))


def page_of(lake: Lake, annotations: str = "") -> Path:
    if annotations:
        lake.home.annotations.write_text(annotations, encoding="utf-8")
    return write_page(settings(lake))
