"""Runs of pytest inside the tests."""

import pytest


@pytest.fixture
def runs(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a place for runs of pytest that are as strict as this one."""
    pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n")
    return pytester
