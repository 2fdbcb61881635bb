"""A process of the tests: writes a report and kills itself at a moment that was chosen.

python killed_report.py LAKE OUT N [QUERY ...]: SIGKILL at the N-th moment that is reached, and then OUT is as if file
systems could not exchange folders where N is negative (the -N-th). N = 0 is never, and prints the moments, one a line.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pgtrace
from pgtrace.report import Wanted, files, write, write_report
from pgtrace.timespan import window


def main(lake: str, out: str, number: str, *queries: str) -> None:
    left = abs(int(number))

    def reached(name: str) -> None:
        nonlocal left
        if number == "0":
            sys.stdout.write(f"{name}\n")
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in (files, write):
        vars(module)["reached"] = reached
    if int(number) < 0:
        vars(files)["_exchanged"] = lambda one, other: False
    write_report(pgtrace.open(lake), Path(out), Wanted(window("2026-11-24", None), queries, formats=("csv", "json")))


if __name__ == "__main__":
    main(*sys.argv[1:])
