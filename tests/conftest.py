"""What every test run shares: the profiles of hypothesis.

pyproject.toml chooses hypothesis's own profile "ci" for each run: examples follow from the test itself, with
no clock and no database, so one commit gives one verdict everywhere. `pytest --hypothesis-profile=fuzz` goes
looking for new examples instead.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=5_000,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
