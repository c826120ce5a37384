"""Whether what settings say of claim paths fits any claim: a slip of the pen would drop, hash or name nothing.

The settings are the claim policy and those that are marked as `NAMES_CLAIMS`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from pipelines.oneschema.claim_paths import naming, pattern, upward
from pipelines.settings import NAMES_CLAIMS, Settings

CLAIM_PATTERNS = pl.Schema(
    {
        "setting": pl.String(),
        "pattern": pl.String(),
        "is_matched": pl.Boolean(),
        "path_in_other_case": pl.String(),
    }
)
"""A path or pattern that a setting names. `is_matched` is NULL before any claim could have shown it;
`path_in_other_case` is a claim that one without a match would fit if case did not matter."""

_POLICY = "embed_analytics_claim_policy"


class _Named(NamedTuple):
    setting: str
    text: str
    expression: re.Pattern[str]
    seen: bool | None
    """Whether the reading of tokens has seen it fit; None: no token has been read since it was set."""
    is_dropped: bool


def claim_patterns(settings: Settings, paths: Iterable[str], policy_matches: Mapping[str, bool]) -> pl.DataFrame:
    """CLAIM_PATTERNS of the settings, with the claim `paths` that the lake has and what the reading of tokens noted of
    the policy's patterns."""
    # A pattern holds for what is below its path, too.
    known = sorted({above for path in paths for above in upward(path)})
    rows: list[tuple[str, str, bool | None, str | None]] = []
    for setting, text, expression, seen, is_dropped in (*_policy(settings, policy_matches), *_marked(settings)):
        is_matched = bool(seen) or any(map(expression.fullmatch, known))
        other_case = None if is_matched else _first(re.compile(expression.pattern, re.IGNORECASE), known)
        # Of what is dropped the lake says nothing, unless it has it in another case.
        is_known = is_matched or seen is not None or other_case is not None or (known and not is_dropped)
        rows.append((setting.upper(), text, is_matched if is_known else None, other_case))
    return pl.DataFrame(rows, schema=CLAIM_PATTERNS, orient="row")


def _policy(settings: Settings, matches: Mapping[str, bool]) -> list[_Named]:
    return [
        _Named(_POLICY, text, pattern(text), matches.get(text), action == "drop")
        for text, action in settings.embed_analytics_claim_policy.items()
    ]


def _marked(settings: Settings) -> list[_Named]:
    found: list[_Named] = []
    for setting, field in Settings.model_fields.items():
        if NAMES_CLAIMS in field.metadata:
            value: Any = getattr(settings, setting)
            texts = [value] if isinstance(value, str) else value or ()
            found += [_Named(setting, text, naming(text), None, is_dropped=False) for text in texts]
    return found


def _first(expression: re.Pattern[str], paths: Iterable[str]) -> str | None:
    return next(filter(expression.fullmatch, paths), None)
