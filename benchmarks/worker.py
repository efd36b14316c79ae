"""The process of one measurement: `python -m benchmarks.worker CASE CONTENDER`, params on stdin, result on stdout."""

import json
import sys

from benchmarks.cases import load

if __name__ == "__main__":
    _, case, contender = sys.argv
    result = load(case).contenders[contender](json.load(sys.stdin))
    json.dump(result, sys.stdout)
