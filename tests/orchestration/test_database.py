"""The address of Dagster's database: spelled as people spell it, with the driver that works, and never shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url

from pipelines.errors import ConfigurationError
from pipelines.orchestration.instance import database
from pipelines.orchestration.instance.database import database_url

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(driver=st.sampled_from(["postgres", "postgresql", "postgresql+psycopg2"]), user=TEXTS, password=TEXTS)
def test_dagster_gets_the_driver_that_works_and_the_rest_as_it_is(driver: str, user: str, password: str) -> None:
    given = URL.create(driver, user, password, "db.example", 6543, "history", {"sslmode": "require"})
    written = database_url(SecretStr(given.render_as_string(hide_password=False)))
    made = make_url(written)
    assert made.drivername == "postgresql+psycopg2"
    assert made.set(drivername=driver) == given
    assert database_url(SecretStr(written)) == written


@pytest.mark.parametrize(
    "text",
    [
        "hidden",
        "postgresql+psycopg://u:hidden@h/d",
        "mysql://u:hidden@h/d",
        "postgresql://u:hidden@h",
        "postgresql://u:hidden@h:port/d",
        "sqlite:///hidden.db",
    ],
)
def test_another_address_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        database_url(SecretStr(text))
    assert "EMBED_ANALYTICS_DAGSTER_DATABASE_URL" in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(database, "find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match=r"embed-analytics\[postgres\]"):
        database_url(SecretStr("postgresql://u:p@h/d"))
