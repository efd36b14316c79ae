"""The service's time, and what an answer shows of itself."""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from dexcmd.wire.answer import Answer, service_time


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Thu, 01 Jan 2026 11:59:58 GMT", datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC)),
        ("Thu, 01 Jan 2026 11:59:58 +0000", datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC)),
        ("Thu, 01 Jan 2026 11:59:58 -0000", datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC)),
        ("Thu, 01 Jan 2026 11:59:58 +0130", datetime(2026, 1, 1, 10, 29, 58, tzinfo=UTC)),
        ("Thursday, 01-Jan-26 11:59:58 GMT", datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC)),
        ("Thu Jan  1 11:59:58 2026", datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC)),
        ("", None),
        ("now", None),
        ("2026-01-01T11:59:58Z", None),
        ("Thu, 99 Jan 2026 11:59:58 GMT", None),
        ("Thu, 01 Jan 2026 11:59:58 +9999", None),
    ],
)
def test_service_time(date: str, expected: datetime | None):
    found = service_time({"Date": date})
    assert found == expected
    assert found is None or found.tzinfo is UTC


def test_no_date():
    assert service_time({}) is None


def test_the_ray_id_is_found_in_any_case():
    assert Answer("GET", "/", 200, CIMultiDict({"CF-RAY": "9a-LHR"}), b"").ray_id == "9a-LHR"
    assert Answer("GET", "/", 200, CIMultiDict(), b"").ray_id is None


def test_the_body_is_in_no_repr():
    assert "secret" not in repr(Answer("GET", "/", 200, CIMultiDict(), b"secret"))
