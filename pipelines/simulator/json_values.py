"""What JSON is to the simulator, which shares nothing with the code that reads it."""

from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
