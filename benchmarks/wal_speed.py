"""How fast is WAL read, as text and as segments? pgtrace against pg_waldump writing the same text, in one run.

    python -m benchmarks.wal_speed [--seconds 40] [--runs 3]

A server of its own (initdb and pgbench, on the PATH or under /usr/lib/postgresql) makes the WAL. Prints records per
second, the peak resident memory of the largest process, and the ratio to pg_waldump.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.ingest_speed import Run, run
from benchmarks.postgres import OWNER, program

SETTINGS = "listen_addresses = ''\nfsync = off\nsynchronous_commit = off\nmax_wal_size = '2GB'\nwal_keep_size = '4GB'\n"


def of_server(command: list[str]) -> None:
    """Run a program of the server, which refuses to run as root."""
    subprocess.run(command, check=True, capture_output=True, cwd="/", user=OWNER if os.geteuid() == 0 else None)


def make_wal(folder: Path, seconds: int) -> list[Path]:
    """Segments of a server on which pgbench ran, in their order."""
    data, sockets = folder / "data", ["-h", str(folder), "-U", "bench"]
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER)
    of_server([program("initdb"), "-D", str(data), "-U", "bench"])
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"{SETTINGS}unix_socket_directories = '{folder}'\n")
    control = [program("pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "server.log")]
    of_server([*control, "start"])
    try:
        bench = [program("pgbench"), *sockets]
        of_server([*bench, "-i", "-s", "10", "postgres"])
        of_server([*bench, "-c", "4", "-T", str(seconds), "postgres"])
    finally:
        of_server([*control, "-m", "fast", "stop"])
    return sorted(path for path in (data / "pg_wal").iterdir() if len(path.name) == 24)


def report(name: str, records: int, runs: list[Run]) -> float:
    """Print the medians of ``runs``; returns records per second."""
    seconds = median(item.seconds for item in runs)
    cpu, peak = median(item.cpu_seconds for item in runs), max(item.peak_mb for item in runs)
    print(f"{name:<22} {seconds:7.2f} s {cpu:7.2f} s cpu {records / seconds:12,.0f} records/s {peak:6.0f} MB peak")
    return records / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    os.environ["TZ"] = "UTC"
    with tempfile.TemporaryDirectory(prefix="pgtrace-bench-") as name:
        folder = Path(name)
        segments = make_wal(folder, options.seconds)
        text, script = folder / "wal.txt", folder / "dump.sh"
        # the end of WAL is an error to pg_waldump
        script.write_text(f"{program('pg_waldump')} {segments[0]} {segments[-1].name} > $1 2>/dev/null || true\n")
        pgtrace = str(Path(sys.executable).with_name("pgtrace"))
        dumped: list[Run] = []
        read: list[Run] = []
        raw: list[Run] = []
        for number in range(options.runs):
            dumped.append(run(["sh", str(script), str(text)]))
            for runs, source in ((read, text), (raw, segments[0].parent)):
                lake = str(folder / f"lake{number}")
                runs.append(run([pgtrace, "ingest", "--quiet", "--lake", lake, str(source)]))
                shutil.rmtree(lake)
        with text.open("rb") as lines:
            records = sum(1 for _ in lines)
        rival = report("pg_waldump to a file", records, dumped)
        print(f"ratio {report('pgtrace, text', records, read) / rival:.2f}")
        print(f"ratio {report('pgtrace, segments', records, raw) / rival:.2f}")


if __name__ == "__main__":
    main()
