"""Models of every kind, drawn at random, each keeping to its kind: the text of the files that would be in sql/."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from pipelines.warehouse.kinds import UNIT_TYPES

# Of each table: its columns by what can be done with them. The units are among the columns `keys`.
TIMES, NUMBERS, TEXTS = "times", "numbers", "texts"


@dataclass
class Drawn:
    """A table that a later model may read: its name, its unit columns, and the others by sort."""

    name: str
    keys: list[str]
    times: list[str] = field(default_factory=list[str])
    numbers: list[str] = field(default_factory=list[str])
    texts: list[str] = field(default_factory=list[str])
    unit: str | None = None

    @property
    def others(self) -> list[str]:
        return [*self.times, *self.numbers, *self.texts]


STAGED = [
    Drawn(
        "embed_events",
        ["embed_id", "event_date"],
        ["occurred_at", "landed_at"],
        ["event_id", "has_snapshot"],
        ["event_type", "trigger_type", "operation", "import_type", "template_key", "source", "jwt_status", "data"],
    ),
    Drawn(
        "validation_errors",
        ["embed_id", "event_date"],
        ["occurred_at"],
        ["error_count"],
        ["column_key", "error_code", "environment_name"],
    ),
    Drawn("quarantine", ["embed_id"], ["fetched_at"], [], ["level", "field", "reason", "payload", "digest"]),
    Drawn("days", [], ["first_landed_at"], ["event_count", "merged_count", "conflict_count"], []),
]
OBSERVED = [
    Drawn("embeds", ["embed_id"], ["fetched_at"], ["imported_row_count"], ["status", "template_key", "jwt_status"]),
    Drawn(
        "sweeps", ["sweep_id"], ["finished_at", "first_loss_at"], ["failed_count", "due_count"], ["kind", "failures"]
    ),
]


# The units of when a session began, from the time of its first event.
ENTRY_UNITS = {
    "entry_date": "min({})::date",
    "entry_week": "date_trunc('week', min({}))::date",
    "entry_month": "date_trunc('month', min({}))::date",
}


class ModelMaker:
    """Draws one model after the other; each may read those before it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.tables: list[Drawn] = []

    def draw(self) -> Iterator[tuple[str, str]]:
        """Name and text of each model."""
        for kind in ("lake_partition", "lake_partition", "merge", "merge"):
            yield self._named(kind, f"g{len(self.tables)}")
        for number in range(9):
            kinds = ["embed_id", "event_date", "whole", "view"]
            for unit in ENTRY_UNITS:
                if any(unit in table.keys for table in self.tables):
                    kinds += [unit, unit]
            yield self._named("embed_id" if number == 0 else self.random.choice(kinds), f"g{len(self.tables)}")

    def _named(self, kind: str, name: str) -> tuple[str, str]:
        make = {"lake_partition": self._partitioned, "merge": self._merged, "whole": self._whole, "view": self._view}
        drawn, text = make[kind](name) if kind in make else self._by_unit(name, kind)
        self.tables.append(drawn)
        return name, text

    def _some(self, names: Sequence[str], least: int = 0) -> list[str]:
        return self.random.sample(names, self.random.randint(min(least, len(names)), len(names)))

    def _partitioned(self, name: str) -> tuple[Drawn, str]:
        source = self.random.choice(STAGED)
        partition = "event_date as lake_partition" if source.name in ("quarantine", "days") else "lake_partition"
        times, numbers, texts = (self._some(each) for each in (source.times, source.numbers, source.texts))
        keys = self._some(source.keys)
        held = [table for table in self.tables if table.unit == "lake_partition"]
        if held and self.random.random() < 0.3:
            read = self.random.choice(held)
            shown = "".join(f"{key}, " for key in read.keys)
            sql = f"select lake_partition, {shown}count(*) as n_{name}\nfrom {read.name}\ngroup by all"
            return Drawn(name, list(read.keys), numbers=[f"n_{name}"], unit="lake_partition"), _text(
                "lake_partition", sql
            )
        columns = [*keys, *times, *numbers, *texts]
        shown = "".join(f"{column}, " for column in columns)
        where = self.random.choice(["", f"\nwhere {columns[0]} is not null" if columns else ""])
        sql = f"select {shown}{partition}\nfrom source.{source.name}{where}"
        return Drawn(name, keys, times, numbers, texts, unit="lake_partition"), _text("lake_partition", sql)

    def _merged(self, name: str) -> tuple[Drawn, str]:
        source = self.random.choice(OBSERVED)
        (key,) = source.keys
        times, numbers, texts = (self._some(each) for each in (source.times, source.numbers, source.texts))
        columns = [*times, *numbers, *texts]
        order = ", ".join(
            f"{c} {self.random.choice(['asc', 'desc nulls last'])}" for c in self.random.sample(columns, len(columns))
        )
        picked = f"row_number() over (partition by {key} order by {order or key}) = 1"
        sql = (
            f"select {', '.join([key, *columns])}\nfrom source.{source.name}\nwhere {key} is not null\nqualify {picked}"
        )
        text = _text("merge", sql, [f"grain: {key}"]).replace(f"    {key}, -- it", f"    {key}, -- it; not null", 1)
        return Drawn(name, [key] if key in UNIT_TYPES else [], times, numbers, texts), text

    def _by_unit(self, name: str, unit: str) -> tuple[Drawn, str]:
        """Rows of a unit from one table or from two, at times with another unit beside it, or with the time."""
        random = self.random
        readable = [table for table in self.tables if unit in table.keys]
        # The latest one more often: what is read through many others is where changes get lost.
        readable += readable[-1:] * len(readable)
        if not readable:
            readable = [Drawn("stg_embed_events", ["embed_id", "event_date"], ["occurred_at"], [], ["event_type"])]
        first, second = random.choice(readable), random.choice(readable)
        drawn = Drawn(name, [unit], unit=unit)
        directives: list[str] = []
        columns = [unit, f"count(*) as n_{name}"]
        drawn.numbers.append(f"n_{name}")
        for number, text in enumerate(self._some(first.texts)):
            columns.append(f"min({text}) as t{number}")
            drawn.texts.append(f"t{number}")
        for number, value in enumerate(self._some(first.numbers, least=1)):
            columns.append(f"max({value}) as x{number}")
            drawn.numbers.append(f"x{number}")
        if first.times:
            column = random.choice(first.times)
            columns.append(f"max({column}) as last_at")
            drawn.times.append("last_at")
            shape = random.randrange(5)
            if shape == 0:
                columns.append(f"count(*) filter ({column} <= (select plausible_until from source.parameters)) as p")
                directives.append(f"time: plausible_until reaches {first.name}.{column}")
            elif shape == 1:
                hours = random.choice([1, 24, 48])
                age = f"(select data_through from source.parameters) - interval {hours} hour"
                columns.append(f"coalesce(max({column}) < {age}, false) as is_old")
                table = random.choice([f"{first.name}.{column}", f"{name}.last_at"])
                directives.append(f"time: data_through reaches {table} + interval {hours} hour")
            if unit == "embed_id" and random.random() < 0.6:
                entry = random.choice(list(ENTRY_UNITS))
                columns.append(f"{ENTRY_UNITS[entry].format(column)} as {entry}")
                drawn.keys.append(entry)
        beside = [key for key in first.keys if key != unit]
        if beside and random.random() < 0.4:
            columns.insert(1, beside[0])
            drawn.keys.append(beside[0])
            columns = [c for c in columns if " as entry_" not in c]
            drawn.keys = [unit, beside[0]]
        sql = f"select {', '.join(columns)}\nfrom {first.name}\ngroup by all"
        if second.name != first.name and random.random() < 0.5:
            counted = f"max({random.choice(second.others)})" if second.others else "count(*)"
            sql = (
                f"with a as (\n{sql}\n), b as (\n"
                f"select {unit}, {counted} as m_{name}\nfrom {second.name}\ngroup by all\n)\n"
                f"select a.*, b.m_{name}\nfrom a left join b on a.{unit} is not distinct from b.{unit}"
            )
            return _with_columns(drawn, unit, sql, [*map(_column, columns), f"m_{name}"], directives)
        return drawn, _text(unit, sql, directives)

    def _whole(self, name: str) -> tuple[Drawn, str]:
        """Rows that may all change as time passes, whatever else did."""
        table = self.random.choice(self.tables)
        drawn = Drawn(name, list(table.keys), numbers=[f"n_{name}"])
        shown = "".join(f"{column}, " for column in (*table.keys, *self._some(table.others)))
        columns = f"{shown}count(*) as n_{name}"
        if self.random.random() < 0.7:
            columns += f", (select data_through from source.parameters) as now_{name}"
            drawn.times.append(f"now_{name}")
        return drawn, _text("whole", f"select {columns}\nfrom {table.name}\ngroup by all")

    def _view(self, name: str) -> tuple[Drawn, str]:
        table = self.random.choice(self.tables)
        unit = self.random.choice(table.keys) if table.keys else None
        over = f"partition by {unit}" if unit else ""
        shown = [*([unit] if unit else []), *table.others]
        sql = f"select {''.join(f'{c}, ' for c in shown)}count(*) over ({over}) as n_{name}\nfrom {table.name}"
        keys, numbers = [unit] if unit else [], [*table.numbers, f"n_{name}"]
        return Drawn(name, keys, table.times, numbers, table.texts), _text("view", sql)


def _column(expression: str) -> str:
    return expression.rpartition(" ")[2]


def _with_columns(drawn: Drawn, unit: str, sql: str, names: list[str], directives: list[str]) -> tuple[Drawn, str]:
    head, _, tail = sql.rpartition(f"select a.*, b.{names[-1]}")
    shown = [*(f"a.{name}" for name in names[:-1]), f"b.{names[-1]}"]
    drawn.numbers.append(names[-1])
    return drawn, _text(unit, f"{head}select {', '.join(shown)}{tail}", directives)


def _text(kind: str, sql: str, directives: Sequence[str] = ()) -> str:
    """A file of sql/. Each output column of the last SELECT has a comment behind it."""
    head, _, last = sql.rpartition("select ")
    if head and not head.endswith("\n"):
        # A subquery follows: the SELECT is the one that begins a line.
        begins = sql.rfind("\nselect ") + 1 if "\nselect " in sql else 0
        head, last = sql[:begins], sql[begins + len("select ") :]
    chosen, _, tail = last.partition("\nfrom ")
    lines = "".join(f"    {column}, -- it\n" for column in _split(chosen))
    header = "".join(f"-- {line}\n" for line in ["Drawn at random.", f"refresh: {kind}", *directives])
    return f"{header}{head}select\n{lines}from {tail}\n"


def _split(columns: str) -> Iterator[str]:
    depth, begun = 0, 0
    for place, character in enumerate(columns):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield columns[begun:place].strip()
            begun = place + 1
    yield columns[begun:].strip()
