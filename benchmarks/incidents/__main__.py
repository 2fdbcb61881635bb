"""Make labelled incidents on real servers.

    python -m benchmarks.incidents OUT_DIR [--only 'vacuum-*'] [--seconds N] [--repeat N] [--seed N]

Each run starts a server of its own on loopback (initdb, pg_ctl and pgbench, on the PATH or under /usr/lib/postgresql),
loads it at a steady rate, does one thing to it, and leaves OUT_DIR/NAME/log, wal, and label.json: what was done when,
what counts as the right answer, and how much longer transactions took, as pgbench saw it. The whole set takes 75
minutes. `python -m benchmarks.incidents.score OUT_DIR` scores what pgtrace says of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .plan import PLAN
from .stage import perform

#: how long a run is loaded, by variant
SECONDS = {"repeated": 150, "single": 95, "control": 95}


def main() -> None:
    """Make the runs that are not there yet."""
    options = _options()
    chosen = [run for run in PLAN if not options.only or any(fnmatch(run.name, name) for name in options.only)]
    if options.list:
        print(*(run.name for run in chosen), sep="\n")
        return
    if not chosen:
        sys.exit("no run has such a name; --list shows them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    os.nice(options.nice)
    for number in range(options.repeat):
        for run in chosen:
            out = options.out / (f"{run.name}-{number + 1}" if number else run.name)
            if (out / "label.json").exists():
                continue
            begun = time.monotonic()
            label = perform(run, out, options.seconds or SECONDS[run.variant], options.seed + number, options.below)
            took = f"{time.strftime('%H:%M:%S')} {out.name:<38} {time.monotonic() - begun:4.0f} s"
            print(took, summary(label), flush=True)


def summary(label: dict[str, Any]) -> str:
    """The effect that the label tells, in a line: percentiles in ms outside and inside of the windows."""
    told = label["effect"]["execution"]
    percentiles = (
        f"{name} {told['outside'][name]} -> {told['inside'][name]} ms (x{ratio})"
        for name, ratio in told["ratio"].items()
    )
    return "; ".join([f"{len(label['windows'])} windows, {label['effect']['transactions']} transactions", *percentiles])


def _options() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="benchmarks.incidents", description=__doc__, formatter_class=layout)
    parser.add_argument("out", type=Path, help="one folder per run is made here; runs that are there are kept")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="runs of such a name, as 'idle*'")
    parser.add_argument("--seconds", type=int, help="how long each run is loaded (default by its variant)")
    parser.add_argument("--repeat", type=int, default=1, help="make the set so many times, each with another seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the names of the runs, and do nothing")
    parser.add_argument("--nice", type=int, default=0, help="niceness of server and load (below 0: root only)")
    parser.add_argument("--below", metavar="DIR", help="where the servers keep their data; /dev/shm has no slow disk")
    return parser.parse_args()


if __name__ == "__main__":
    main()
