"""What a target costs among few and among many: in a campaign's journal."""

from benchmarks.case import Metric, Params, Result
from benchmarks.cases.journal import journal_of_dexcmd
from benchmarks.growth import growth_case
from benchmarks.usage import MIB

NOTES = """\
The work of the case "journal", the making of the events included: the plan, then for each target an intent, its end, a
command, its end and an artifact. "Asked" is the time to open the journal again and to ask what a run asks first."""


def _work(params: Params) -> Result:
    result = journal_of_dexcmd(params)
    return {**result, "bytes": result["size"] * MIB / params["targets"]}


CASE = growth_case(
    name="sizes",
    title="the cost of a target in a journal, among few and many",
    notes=NOTES,
    work=_work,
    metrics=(Metric("bytes", "file bytes/target", 0), Metric("asked", "asked s", 3)),
)
