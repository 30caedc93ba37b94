"""For every tier."""

import pytest
from support.golden import Golden, add_option


def pytest_addoption(parser: pytest.Parser) -> None:
    add_option(parser)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares whole objects with files under tests/data."""
    return Golden(update=request.config.getoption("--update-golden"))
