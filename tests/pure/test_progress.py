"""Few reports, and rates that follow what happens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.transfer.progress import INTERVAL, Progress, ProgressMeter


class TestProgress:
    @pytest.mark.parametrize(
        ("received", "size", "rate", "eta"),
        [
            (50, 100, 10.0, 5.0),
            (0, 100, 10.0, 10.0),
            (100, 100, 10.0, 0.0),
            (120, 100, 10.0, 0.0),
            (50, None, 10.0, None),
            (50, 100, 0.0, None),
            (50, 100, -1.0, None),
        ],
    )
    def test_eta(self, received: int, size: int | None, rate: float, eta: float | None):
        assert Progress("c1", "a.zip", received, size, rate).eta == eta


class TestProgressMeter:
    def test_a_report_in_an_interval(self):
        meter = ProgressMeter("c1", "a.zip")
        meter.start(0, 0.0)
        assert meter.report(10, 1000, 0.05) is None
        assert meter.report(20, 1000, 0.2) == Progress("c1", "a.zip", 20, 1000, 100.0)
        assert meter.report(30, 1000, 0.25) is None
        assert meter.report(30, 1000, 0.35) is not None

    def test_the_last_byte_is_reported_at_once(self):
        meter = ProgressMeter("c1", "a.zip")
        meter.start(0, 0.0)
        assert meter.report(1000, 1000, 0.01) == Progress("c1", "a.zip", 1000, 1000, 100_000.0)
        other = ProgressMeter("c1", "a.zip")
        other.start(0, 0.0)
        assert other.report(1000, 1000, 0.0) == Progress("c1", "a.zip", 1000, 1000, 0.0)

    def test_last_bytes_right_behind_a_report_make_no_great_rate(self):
        meter = ProgressMeter("c1", "a.zip")
        meter.start(0, 0.0)
        meter.report(100_000, 200_000, 0.1)
        report = meter.report(200_000, 200_000, 0.10001)
        assert report is not None
        assert 1_000_000 < report.rate < 2_000_000

    def test_what_was_there_already_has_not_just_come(self):
        meter = ProgressMeter("c1", "a.zip")
        meter.start(10**9, 5.0)
        report = meter.report(10**9 + 100, None, 6.0)
        assert report is not None
        assert (report.received, report.rate) == (10**9 + 100, 100.0)

    def test_without_a_start_the_first_report_is_one(self):
        meter = ProgressMeter("c1", "a.zip")
        assert meter.report(1000, 1000, 5.0) == Progress("c1", "a.zip", 1000, 1000, 0.0)

    def test_a_new_attempt_does_not_count_its_wait(self):
        meter = ProgressMeter("c1", "a.zip")
        meter.start(0, 0.0)
        meter.report(100, None, 1.0)
        meter.start(50, 1000.0)
        report = meter.report(150, None, 1001.0)
        assert report is not None
        assert report.rate == pytest.approx(100.0)

    def test_the_rate_follows_a_change_within_a_second(self):
        meter, received = ProgressMeter("c1", "a.zip"), 0
        meter.start(0, 0.0)
        report = None
        for tick in range(1, 9):
            received += 100
            report = meter.report(received, None, tick / 8)
        assert report is not None
        assert report.rate == 800
        for tick in range(9, 17):
            received += 1000
            report = meter.report(received, None, tick / 8)
        assert report is not None
        assert 0.9 * 8000 < report.rate <= 8000

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(1, 1000)), min_size=1, max_size=100))
    def test_few_reports_and_rates_between_the_slowest_and_the_fastest(self, chunks: list[tuple[float, int]]):
        meter, now, received = ProgressMeter("c1", "a.zip"), 0.0, 0
        meter.start(0, 0.0)
        reports: list[Progress] = []
        for seconds, size in chunks:
            now, received = now + seconds, received + size
            if (report := meter.report(received, None, now)) is not None:
                reports.append(report)
        assert len(reports) <= now / INTERVAL + 1
        assert all(0 < report.rate <= 1000 * len(chunks) / INTERVAL for report in reports)
        assert [report.received for report in reports] == sorted(report.received for report in reports)
