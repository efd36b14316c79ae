"""The command: `python -m benchmarks [case ...] [--scale 0.1] [--rounds 1]`."""

import argparse
import math
import subprocess
import sys
import textwrap

from benchmarks.case import Case
from benchmarks.cases import NAMES, load
from benchmarks.machine import describe_machine
from benchmarks.runner import run_case
from benchmarks.table import comparison


def main() -> int:
    """Run the cases, print the report, and return 1 if anything is as it must not be."""
    options = _options()
    print(f"# Benchmarks\n\n{describe_machine()}", flush=True)
    problems: list[str] = []
    for name in options.cases or NAMES:
        problems += [f"{name}: {problem}" for problem in _report(load(name), options.scale, options.rounds)]
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="dexcmd beside its peers, as Markdown.")
    parser.add_argument(
        "cases", nargs="*", type=_case, metavar="case", help=f"{', '.join(NAMES)}; all if none is named"
    )
    parser.add_argument("--scale", type=_scale, default=1.0, help="the size of each case, 1 being the full one")
    parser.add_argument("--rounds", type=_rounds, help="rounds of each case, instead of its own number")
    return parser.parse_args()


def _case(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"no case {text!r}: there are {', '.join(NAMES)}")
    return text


def _scale(text: str) -> float:
    scale = float(text)
    if not (math.isfinite(scale) and scale > 0):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return scale


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return rounds


def _report(case: Case, scale: float, rounds: int | None) -> list[str]:
    """Run a case and print what it gave; return what must not be."""
    rounds = rounds or case.rounds
    try:
        with case.prepare(scale) as params:
            notes = case.notes(params)
            runs = run_case(case, params, rounds)
    except subprocess.CalledProcessError as error:
        return [f"{' '.join(error.cmd[-2:])} ended with exit code {error.returncode}"]
    print(f"\n## {case.name}: {case.title}\n\n{comparison(case.metrics, case.peer, runs)}\n", flush=True)
    told = f"Medians over {rounds} round(s), in brackets the ratio to `{case.peer}` of the same round. {notes}"
    print(textwrap.fill(told, 120), flush=True)
    return case.check(runs)


if __name__ == "__main__":
    sys.exit(main())
