"""The simulated customer's templates: their columns, what goes wrong in them, and how hard they are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaw:
    """An error that a file may have: with probability `chance` per upload, in about `share` of its rows."""

    column_key: str
    error_code: str
    chance: float
    share: float


@dataclass(frozen=True)
class Template:
    """One import template. `difficulty` scales how many people give up; `rows` is the typical size of a file.

    `mapping_skipped` is the share of files whose columns all match, where the customisation skips the mapping then.
    """

    key: str
    weight: float
    difficulty: float
    rows: int
    import_type: str
    columns: tuple[tuple[str, str], ...]
    flaws: tuple[Flaw, ...]
    mapping_skipped: float = 0.0


TEMPLATES: tuple[Template, ...] = (
    Template(
        key="employees",
        weight=0.36,
        difficulty=0.8,
        rows=240,
        import_type="webhook",
        columns=(
            ("email", "EMAIL"),
            ("first_name", "TEXT"),
            ("last_name", "TEXT"),
            ("start_date", "DATE"),
            ("department", "PICKLIST"),
            ("manager_email", "EMAIL"),
        ),
        flaws=(
            Flaw("email", "INVALID_EMAIL", 0.42, 0.03),
            Flaw("email", "DUPLICATE", 0.25, 0.02),
            Flaw("start_date", "INVALID_DATE", 0.5, 0.25),
            Flaw("department", "PICKLIST", 0.45, 0.12),
            Flaw("manager_email", "MISSING", 0.3, 0.08),
        ),
    ),
    Template(
        key="contacts",
        weight=0.3,
        difficulty=0.6,
        rows=900,
        import_type="local",
        columns=(
            ("email", "EMAIL"),
            ("phone", "PHONE"),
            ("company", "TEXT"),
            ("country", "PICKLIST"),
            ("owner", "TEXT"),
        ),
        flaws=(
            Flaw("email", "MISSING", 0.35, 0.04),
            Flaw("email", "INVALID_EMAIL", 0.3, 0.02),
            Flaw("phone", "INVALID_PHONE", 0.55, 0.3),
            Flaw("country", "PICKLIST", 0.35, 0.1),
        ),
        mapping_skipped=0.4,
    ),
    Template(
        key="inventory-v2",
        weight=0.2,
        difficulty=1.3,
        rows=3200,
        import_type="webhook",
        columns=(
            ("item", "PICKLIST"),
            ("sku", "TEXT"),
            ("Unit Price (€)", "NUMBER"),
            ("quantity", "NUMBER"),
            ("warehouse.code", "TEXT"),
        ),
        flaws=(
            Flaw("item", "PICKLIST", 0.6, 0.06),
            Flaw("sku", "DUPLICATE", 0.4, 0.02),
            Flaw("sku", "code_hook:sku_unknown", 0.35, 0.15),
            Flaw("Unit Price (€)", "INVALID_NUMBER", 0.5, 0.2),
            Flaw("quantity", "MISSING", 0.25, 0.05),
            Flaw("warehouse.code", "code_hook:warehouse_closed", 0.15, 0.04),
        ),
    ),
    Template(
        key="payroll_runs",
        weight=0.11,
        difficulty=1.6,
        rows=120,
        import_type="file-upload",
        columns=(
            ("employee_id", "TEXT"),
            ("gross", "NUMBER"),
            ("period", "DATE"),
            ("iban", "TEXT"),
        ),
        flaws=(
            Flaw("employee_id", "MISSING", 0.3, 0.05),
            Flaw("employee_id", "UNIQUE_ROW", 0.2, 0.03),
            Flaw("gross", "INVALID_NUMBER", 0.5, 0.3),
            Flaw("period", "INVALID_DATE", 0.55, 0.6),
            Flaw("iban", "CUSTOM_REGEX", 0.6, 0.2),
        ),
    ),
    Template(
        key="leads",
        weight=0.03,
        difficulty=0.3,
        rows=60,
        import_type="local",
        columns=(("email", "EMAIL"), ("source", "TEXT")),
        flaws=(Flaw("email", "INVALID_EMAIL", 0.15, 0.05),),
        mapping_skipped=0.8,
    ),
)

# Operations of the Review & Finalize pane, how often each is chosen, and the share of an error that it leaves behind.
OPERATIONS: tuple[tuple[str, float, float], ...] = (
    ("set_cell_value", 0.42, 0.75),
    ("find_and_replace", 0.2, 0.25),
    ("bulk_set_picklist_value", 0.12, 0.1),
    ("delete_rows", 0.12, 0.4),
    ("fill_down", 0.06, 0.3),
    ("add_row", 0.04, 1.0),
    ("sort_column", 0.04, 1.0),
)
# The operation that an automation performs on a sheet.
AUTOFIX = ("autofix", 0.35)

# Event types of this world that are newer than the vendor's page.
UNKNOWN_EVENT_TYPES = ("ai_mapping_suggested", "sheet_exported")
