"""The vendor's words: each event type, trigger type and funnel step is written here and nowhere else.

Source: the vendor's page "Using Event Webhooks" and its API reference. The lists are open: an unknown event type or
trigger type is a row like any other, and is listed in `meta_event_types`.
"""

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

FUNNEL_STEPS: tuple[str, ...] = (
    "embed_initialized",
    "file_uploaded",
    "header_selected",
    "columns_mapped",
    "import_submitted",
)

EMBED_STATUSES: tuple[str, ...] = (
    "initialized",
    "uploaded",
    "headers_set",
    "columns_mapped",
    "import-pending",
    "imported",
)

# Fields that let their holder act as a customer. They are removed, at any depth, before anything is written.
CREDENTIAL_FIELDS: frozenset[str] = frozenset({"token", "user_jwt", "embed_jwt"})
