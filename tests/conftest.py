"""For every tier."""

import pytest

pytest.register_assert_rewrite("support")  # so that a failed assert in there says what it compared

from support.golden import Golden, add_option  # noqa: E402 - after the registration


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares whole objects with files under tests/data."""
    return Golden(update=request.config.getoption("--update-golden"))
