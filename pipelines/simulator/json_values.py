"""The simulator's own type of JSON values, because it shares nothing with the code that reads them."""

from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
