"""What a target costs among few and among many: to be created a command for."""

from contextlib import AbstractContextManager

from benchmarks.case import Metric, Params
from benchmarks.cases.create import create_with_dexcmd
from benchmarks.growth import growth_case

NOTES = """\
The work of the case "create" for dexcmd: POSTs of ten, without a rate limit, and an outcome for each target. "Service
busy" is the CPU of the service in per cent of the time."""


def _service() -> AbstractContextManager[Params]:
    from benchmarks.canned_campaign import campaign_service

    return campaign_service()


CASE = growth_case(
    name="sizes-create",
    title="the cost of a target that is created for, among few and many",
    notes=NOTES,
    work=create_with_dexcmd,
    metrics=(Metric("requests", "requests", 0), Metric("busy", "service busy %", 0)),
    service=_service,
)
