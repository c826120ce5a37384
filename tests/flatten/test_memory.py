"""How long Polars' allocator keeps memory, which is set before Polars is imported."""

import os
import subprocess
import sys

import pytest

VARIABLE = "_RJEM_MALLOC_CONF"


def printed(code: str, **environment: str) -> str:
    """What a new process prints, errors included."""
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, check=True, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_it_is_set_before_polars_is_imported_and_an_operators_own_value_stays() -> None:
    code = f"import os, sys, pipelines; print(os.environ['{VARIABLE}'], 'polars' in sys.modules)"
    assert printed(code).split() == ["dirty_decay_ms:10000", "False"]
    assert printed(code, **{VARIABLE: "dirty_decay_ms:7"}).split() == ["dirty_decay_ms:7", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Polars may have another allocator")
def test_polars_heeds_it() -> None:
    # jemalloc prints its options where it is asked for its statistics. Another allocator prints nothing.
    ask = f"import os, pipelines; os.environ['{VARIABLE}'] += ',stats_print:true'; import polars"
    assert "opt.dirty_decay_ms: 10000" in printed(ask)
