"""Runs the contenders of a case, each measurement in a fresh process."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from benchmarks.case import Case, Params, Result

__all__ = ["ROOT", "run_case"]

ROOT = Path(__file__).parent.parent


def run_case(case: Case, params: Params, rounds: int) -> dict[str, list[Result]]:
    """Return what each contender measured, round by round.

    Each round has an order of its own, the same in each run: what one leaves to the next, such as freed memory and
    disk space, must not always befall the same.

    Raises `subprocess.CalledProcessError` where one fails; its own words are on stderr.
    """
    runs: dict[str, list[Result]] = {name: [] for name in case.contenders}
    for number in range(rounds):
        for name in random.Random(number).sample(list(runs), len(runs)):
            print(f"{case.name}: round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            runs[name].append(_measure(case.name, name, {**params, "round": number}))
    return runs


def _measure(case: str, contender: str, params: Params) -> Result:
    # Users run what an installer has compiled.  Compiling it anew takes longer than a first call, and much memory.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    worker = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", case, contender],
        input=json.dumps(params),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return json.loads(worker.stdout)
