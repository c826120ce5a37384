"""Versions of models and checks: texts that change when what they answer may change.

They cover the SQL, and the settings and the vocabulary that it uses.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping

from pipelines.oneschema.vocabulary import EMBED_STATUSES, EVENT_TYPES, FUNNEL_STEPS, TRIGGER_TYPES
from pipelines.warehouse.check import Check
from pipelines.warehouse.kinds import VOCABULARY
from pipelines.warehouse.model import Model
from pipelines.warehouse.parameters import Parameters

_VOCABULARY_VERSION = hashlib.sha256(
    json.dumps([EVENT_TYPES, TRIGGER_TYPES, FUNNEL_STEPS, EMBED_STATUSES]).encode()
).hexdigest()[:16]


def versions_of(models: Iterable[Model], parameters: Parameters) -> dict[str, str]:
    """A text for each model that changes with its SQL, its refresh, and the settings and vocabulary that it uses."""
    return {
        model.name: f"{model.code_version} {model.refresh}{_version_of_inputs(model, parameters)}" for model in models
    }


def check_versions_of(
    checks: Iterable[Check], parameters: Parameters, acknowledged: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """The same for each check. It also changes with what is acknowledged."""
    return {
        check.name: f"{check.code_version} {check.scope}{_version_of_inputs(check, parameters)}"
        f" {json.dumps(sorted(acknowledged.get(check.name, ())))}"
        for check in checks
    }


def _version_of_inputs(reader: Model | Check, parameters: Parameters) -> str:
    used = [parameters.version(name) for name in reader.parameters if name in parameters.settings]
    words = [_VOCABULARY_VERSION] if VOCABULARY.intersection(reader.sources) else []
    return "".join(f" {version}" for version in (*used, *words))
