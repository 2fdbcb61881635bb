"""How fast is a log read, and in how much memory? pgtrace against pgBadger, whole processes, in one run.

    python -m benchmarks.ingest_speed [--size 1GB] [--rival-size 64MB] [--runs 3]

Both read a log made from sample_logs (see make_log.py) on the same machine, one after the other; pgBadger with two
processes (-j 2) reads a shorter one, since its rate does not depend on the size. Prints MB/s (10⁶ bytes), the peak
resident memory of the largest process, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.make_log import make_log
from pgtrace.units import size_parse

BASE = Path(__file__).parent.parent / "sample_logs" / "pg15-mixed" / "postgresql.log"
PREFIX = "%m [%p] %q%u@%d/%a "


@dataclass(slots=True)
class Run:
    """One finished process."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(command: list[str]) -> Run:
    """Run ``command`` and account for it as the operating system does. Raises SystemExit where it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {errors.decode()[-500:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(name: str, size: int, runs: list[Run]) -> float:
    """Print the medians of ``runs``; returns MB/s."""
    seconds = median(run.seconds for run in runs)
    rate = size / 1e6 / seconds
    cpu = median(run.cpu_seconds for run in runs)
    peak = max(run.peak_mb for run in runs)
    print(f"{name:<10} {size / 1e6:8.0f} MB {seconds:8.2f} s {cpu:8.2f} s cpu {rate:8.1f} MB/s {peak:8.0f} MB peak")
    return rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GB")
    parser.add_argument("--rival-size", default="64MB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--base", type=Path, default=BASE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgtrace-bench-") as folder:
        log, short = Path(folder) / "big.log", Path(folder) / "short.log"
        size = make_log(options.base, size_parse(options.size), log)
        short_size = make_log(options.base, size_parse(options.rival_size), short)
        ours, theirs = [], []
        pgtrace = str(Path(sys.executable).with_name("pgtrace"))
        rival = shutil.which("pgbadger")
        for number in range(options.runs):
            lake = str(Path(folder) / f"lake{number}")
            ours.append(run([pgtrace, "ingest", "--quiet", "--lake", lake, str(log)]))
            shutil.rmtree(lake)
            if rival is not None:
                html = str(Path(folder) / "out.html")
                theirs.append(run([rival, "-q", "-j", "2", "-f", "stderr", "-p", PREFIX, "-o", html, str(short)]))
        rate = report("pgtrace", size, ours)
        if rival is None:
            print("pgbadger is not installed (apt-get install pgbadger): no ratio")
        else:
            print(f"ratio {rate / report('pgbadger', short_size, theirs):.1f}")


if __name__ == "__main__":
    main()
