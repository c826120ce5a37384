"""What a refresh asks, opens, runs, reads and writes stays within the limits that stand beside the counting."""

import pytest

from benchmarks import counts


@pytest.mark.slow
def test_the_counts_of_a_refresh_are_within_their_limits() -> None:
    found = counts.answer()
    printed = "\n".join(" | ".join(row) for row in found.tables[0])
    assert all(verdict.is_met for verdict in found.verdicts), printed
