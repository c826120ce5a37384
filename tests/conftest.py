"""The same examples on every machine, however slow; with `make prove`, new ones from the seed that it printed."""

from hypothesis import HealthCheck, settings

from tests.proving import FACTOR

settings.register_profile(
    "ci",
    derandomize=FACTOR == 1,
    deadline=None,
    database=None,
    print_blob=FACTOR > 1,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.load_profile("ci")
