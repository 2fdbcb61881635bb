"""How long ``pgtrace why`` takes over a day of ten million executions, and how much memory.

python -m benchmarks.why_speed [EXECUTIONS] [FOLDER]

The log is made: 30 shapes of queries, a checkpoint every five minutes in which they are slower, autovacuum, temporary
files, waits for locks and connections; it is ingested as any other log, then ``why`` is timed as a program of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

DAY_S = 86_400
START = 1_795_500_000
SHAPES = 30
#: lines are made so many executions at a time
BATCH = 1_000_000
CHECKPOINT_EVERY_S, CHECKPOINT_S = 300, 30


def _lines(times: pl.Series, pids: np.ndarray, texts: pl.Series) -> pl.DataFrame:
    stamp = times.dt.strftime("%Y-%m-%d %H:%M:%S%.3f UTC [")
    line = pl.DataFrame({"stamp": stamp, "pid": pids.astype(str), "text": texts})
    return line.select("stamp", at=times, line=pl.concat_str("stamp", "pid", pl.lit("] LOG:  "), "text")).drop("stamp")


def _times(seconds: np.ndarray) -> pl.Series:
    return pl.Series((seconds * 1000).astype(np.int64) + START * 1000).cast(pl.Datetime("ms"))


def _executions(rng: np.random.Generator, count: int, first: float, last: float) -> pl.DataFrame:
    start = np.sort(rng.uniform(first, last, count))
    shape = np.minimum((SHAPES * rng.random(count) ** 2).astype(np.int64), SHAPES - 1)
    duration = rng.lognormal(0, 0.8, count) * 0.2 * 1.2**shape
    duration[start % CHECKPOINT_EVERY_S < CHECKPOINT_S] *= 1.5
    table = pl.Series(shape).cast(pl.String)
    texts = pl.select(
        pl.concat_str(
            pl.lit("duration: "),
            pl.Series(duration).round(3).cast(pl.String),
            pl.lit(" ms  statement: SELECT c"),
            table,
            pl.lit(" FROM t"),
            table,
            pl.lit(" WHERE id = "),
            pl.Series(rng.integers(1, 1_000_000, count)).cast(pl.String),
        )
    ).to_series()
    return _lines(_times(start + duration / 1000), rng.integers(1000, 1100, count), texts)


def _others(rng: np.random.Generator, first: float, last: float) -> pl.DataFrame:
    """Checkpoints, vacuums, temporary files, waits and connections between two times."""
    rows: list[tuple[float, int, str]] = []
    for begin in np.arange(np.ceil(first / CHECKPOINT_EVERY_S) * CHECKPOINT_EVERY_S, last, CHECKPOINT_EVERY_S):
        rows.append((begin, 900, "checkpoint starting: time"))
        rows.append(
            (
                begin + CHECKPOINT_S,
                900,
                "checkpoint complete: wrote 4000 buffers (24.4%); 0 WAL file(s) added, 0 removed, 3 recycled; "
                f"write={CHECKPOINT_S - 1:.3f} s, sync=0.500 s, total={CHECKPOINT_S:.3f} s; sync files=20, "
                "longest=0.100 s, average=0.025 s; distance=50000 kB, estimate=60000 kB",
            )
        )
    for at in rng.uniform(first, last, int((last - first) / 60)):
        rows.append(
            (
                at,
                950,
                f'automatic vacuum of table "app.public.t{rng.integers(SHAPES)}": index scans: 1\n'
                "\tpages: 0 removed, 900 remain, 900 scanned (100.00% of total)\n"
                "\ttuples: 500 removed, 9000 remain, 0 are dead but not yet removable, oldest xmin: 7000\n"
                "\tavg read rate: 1.000 MB/s, avg write rate: 1.000 MB/s\n"
                "\tbuffer usage: 900 hits, 100 misses, 50 dirtied\n"
                "\tWAL usage: 90 records, 10 full page images, 90000 bytes\n"
                f"\tsystem usage: CPU: user: 0.10 s, system: 0.05 s, elapsed: {rng.uniform(1, 12):.2f} s",
            )
        )
        rows.append(
            (
                at + 7,
                1000 + int(rng.integers(100)),
                f'temporary file: path "base/pgsql_tmp/pgsql_tmp1.0", size {rng.integers(10**6, 10**8)}',
            )
        )
        rows.append((at + 20, 1001, "process 1001 still waiting for ShareLock on transaction 777 after 1000.100 ms"))
        rows.append((at + 21, 1001, "process 1001 acquired ShareLock on transaction 777 after 2000.100 ms"))
        rows.append((at + 30, 2000, "connection received: host=10.0.0.1 port=5000"))
    seconds, pids, texts = zip(*rows, strict=True)
    return _lines(_times(np.asarray(seconds)), np.asarray(pids), pl.Series(texts))


def make(log: Path, executions: int) -> None:
    """Write the log, in the order in which its lines are logged but for the seams between batches."""
    rng = np.random.default_rng(15)
    batches = max(1, executions // BATCH)
    with log.open("wb") as file:
        for number in range(batches):
            first, last = DAY_S * number / batches, DAY_S * (number + 1) / batches
            lines = pl.concat([_executions(rng, executions // batches, first, last), _others(rng, first, last)])
            file.write("\n".join(lines.sort("at", maintain_order=True)["line"].to_list()).encode() + b"\n")


def main() -> None:
    """Make, ingest, and time."""
    executions = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch)
        lake = folder / "lake"
        if not lake.exists():
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / "postgresql.log"
            make(log, executions)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "pgtrace", "ingest", "--lake", lake, log], check=True)
            print(f"ingest: {log.stat().st_size / 1e6:,.0f} MB in {time.perf_counter() - began:.1f} s")
            log.unlink()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pgtrace", "why", "--lake", lake], check=True)
        seconds = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(f"why: {executions:,} executions in {seconds:.1f} s, most memory of any step {memory:.2f} GB")


if __name__ == "__main__":
    main()
