"""A published warehouse with what a digest tells of: templates that moved, customers that fell, hostile names."""

from datetime import timedelta
from random import Random
from typing import Any

from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from tests.warehouse.lake import START, Lake, event

# Both periods of 28 days, and what is too young.
DAYS = 64
DATA_THROUGH = START + timedelta(days=DAYS)
SPLIT = 28

# It would ring, begin lines of its own, end a tag, and name an address.
FALLEN = "Acme <!channel> @here\n• `x` *b* :siren: </strong><img src=x>&amp; http://evil.example"
CUSTOMERS = [FALLEN, "Globex", "Initech", "\u202eUmbrella\x1b[31m", "x" * 300]
TEMPLATES = ["products", "<script>alert(1)</script>", "all templates", "", None]
STEPS = ["embed_initialized", "file_uploaded", "columns_mapped", "import_submitted"]


def settings(lake: Lake, **changes: Any) -> Settings:
    return Settings.defaults(embed_analytics_home=lake.home.root, embed_analytics_customer_claim="customer", **changes)


def publish(lake: Lake) -> None:
    """Sessions of every customer in every template, more in the first ones; the first customer's last month is bad."""
    random = Random(11)
    events: list[dict[str, Any]] = []
    embed_id = 0
    for day in range(DAYS):
        for customer in CUSTOMERS:
            for template in TEMPLATES[: random.choice([1, 2, 5])]:
                embed_id += 1
                is_bad = customer == FALLEN and day >= DAYS - 8 - SPLIT
                length = random.choice([1, 2, 2, 3]) if is_bad else random.choice([2, 4, 4, 4])
                moment = START + timedelta(days=day, minutes=random.random() * 600)
                for number, step in enumerate(STEPS[:length]):
                    claims = {"user_id": "jane", "customer": customer}
                    events.append(
                        event(f"{embed_id}-{number}", embed_id, step, moment, template_key=template, claims=claims)
                    )
                    moment += timedelta(seconds=random.random() * (60 if day < DAYS - 8 - SPLIT else 600))
    lake.write((row for row in events if row["occurred_at"] < DATA_THROUGH), {f"{START:%Y-%m-%d}": 2})
    lake.embeds({"embed_id": number, "status": "imported", "fetched_at": DATA_THROUGH} for number in range(embed_id))
    lake.sweep(DATA_THROUGH, failed_count=1)
    build(lake.home, BuildOptions(settings(lake), "test"))
