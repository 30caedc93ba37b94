"""For every tier."""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("support")  # so that a failed assert in there says what it compared

from support.golden import Golden, add_option  # noqa: E402 - after the registration

WIDE = bool(os.environ.get("FOVEA_TEST_WIDE"))
"""Set by `make test-all`."""

# One profile, here and in continuous integration. No example is timed: a busy machine is no defect. `make test` tries the
# same examples at every run, so that it says something about the change; `make test-all` looks for new ones, and
# print_blob gives the line that repeats a find.
settings.register_profile(
    "fovea",
    deadline=None,
    print_blob=True,
    derandomize=not WIDE,
    max_examples=500 if WIDE else 100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fovea")


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the wide tests, unless they are wanted or one is named (`pytest file.py::test_…`)."""
    named = any("::" in argument for argument in config.args)
    left_out = [] if WIDE or named else [item for item in items if item.get_closest_marker("wide")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares whole objects with files under tests/data."""
    return Golden(update=request.config.getoption("--update-golden"))
