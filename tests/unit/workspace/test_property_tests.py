"""Property tests are not timed: on a busy machine the same examples pass."""

from hypothesis import HealthCheck, settings


def test_no_example_is_timed_and_a_find_can_be_repeated() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    assert settings.default.print_blob
