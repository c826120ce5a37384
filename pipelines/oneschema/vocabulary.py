"""The vendor's vocabulary: each event type, trigger type and funnel step is written here and nowhere else.

Source: the vendor's page "Using Event Webhooks" and its API reference. The lists are open: an unknown event type or
trigger type is a row like any other, and is listed in `meta_event_types`.
"""

from typing import NamedTuple

EVENT_TYPES: dict[str, str] = {
    "embed_initialized": "a session is first initialised",
    "embed_resumed": "a closed session is resumed, or the SDK starts with a token of an embed that the API created",
    "embed_closed": "the importer is closed; not sent when the tab or window is closed",
    "file_uploaded": "a file is uploaded",
    "header_selected": "the header rows are chosen",
    "columns_mapped": "columns are mapped",
    "sheet_operation_performed": "an operation changes the data on the Review & Finalize pane",
    "import_submitted": "the import is submitted",
}

TRIGGER_TYPES: dict[str, str] = {
    "user": "a person in the importer",
    "api": "an API call",
    "automation": "an automation set in the customisation",
}


class FunnelStep(NamedTuple):
    """A step of the funnel, as in `source.funnel_steps`. `step` is the event type that performs it."""

    step_number: int
    step: str
    is_optional: bool


# The steps in order. The vendor skips the panes of the optional ones when it does not need the customer for them.
FUNNEL_STEPS: tuple[FunnelStep, ...] = (
    FunnelStep(1, "embed_initialized", is_optional=False),
    FunnelStep(2, "file_uploaded", is_optional=False),
    FunnelStep(3, "header_selected", is_optional=True),
    FunnelStep(4, "columns_mapped", is_optional=True),
    FunnelStep(5, "import_submitted", is_optional=False),
)


class EmbedStatus(NamedTuple):
    """A status of an embed, as `source.embed_statuses` has it: how the vendor may spell it, and what it says of the
    import. `delivery` is pending, imported or failed; None: nothing has been imported yet."""

    spelling: str
    status: str
    delivery: str | None = None


# In their order. Two of the vendor's pages spell import_pending in two ways.
EMBED_STATUSES: tuple[EmbedStatus, ...] = (
    EmbedStatus("initialized", "initialized"),
    EmbedStatus("uploaded", "uploaded"),
    EmbedStatus("headers_set", "headers_set"),
    EmbedStatus("columns_mapped", "columns_mapped"),
    EmbedStatus("import_pending", "import_pending", "pending"),
    EmbedStatus("import-pending", "import_pending", "pending"),
    EmbedStatus("imported", "imported", "imported"),
    EmbedStatus("import_failed", "import_failed", "failed"),
)

# Fields that let their holder act as a customer. They are removed, at any depth, before anything is written.
CREDENTIAL_FIELDS: frozenset[str] = frozenset({"token", "user_jwt", "embed_jwt"})

# Likewise, but credentials below a field of this name alone: a template's validation hooks each have a secret.
CREDENTIAL_FIELDS_BELOW: dict[str, frozenset[str]] = {"validation_hooks": frozenset({"secret"})}
