"""The fields that are kept of an embed in the vendor's list, one line each.

The columns of raw/embeds, the poll's state and the reading of the list are made from them. The embed's id, token and
JWT are read separately.
"""

from dataclasses import dataclass

from pipelines.home.tables import Column
from pipelines.oneschema.json_text import Json, dumps
from pipelines.oneschema.reading import INTEGER, TEXT, Kind, Unreadable


@dataclass(frozen=True)
class EmbedField:
    """A field of an embed: its name in the vendor's JSON and in raw/embeds, its kind, and its documentation."""

    name: str
    kind: Kind
    description: str

    @property
    def in_raw(self) -> Column:
        return Column(self.name, self.kind.raw_type, f"`{self.name}` of the embed: {self.description}")

    @property
    def in_state(self) -> str:
        """Its column in SQLite."""
        return f"{self.name} {'integer' if self.kind is INTEGER else 'text'}"

    def read(self, value: Json) -> object:
        """The value to keep. A text field keeps any other JSON as its text, so that nothing is dropped silently."""
        if value is None:
            return None
        read = self.kind.read(value)
        if not isinstance(read, Unreadable):
            return read
        return dumps(value) if self.kind is TEXT else None


# In the order of the columns.
EMBED_FIELDS: tuple[EmbedField, ...] = (
    EmbedField("template_key", TEXT, "key of its template"),
    EmbedField("status", TEXT, "the session's status, in the API's words"),
    EmbedField("imported_row_count", INTEGER, "rows imported; only when the status is imported"),
)
