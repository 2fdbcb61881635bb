"""Measure, print a table, and compare with the limits.

    python -m benchmarks.validity [--replicates 200] [--logs FOLDER]... [--write docs/validity.md] [--seed 1]

``--logs`` are folders of logs (each is a server) in which all durations are logged; default: those in sample_logs. Exit
code 1 where a limit is not kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import pgtrace

from .chance import once_by_chance
from .confusions import clocks, limits, together
from .harder import even_p, in_weather, pile_ups, planted_beside
from .made import Run, mix
from .scenarios import Row, noise, nothing_there, planted, unlike
from .timers import fewer, jobs, regular

SAMPLES = Path(__file__).parents[2] / "sample_logs"
#: of sample_logs, those whose server logged every duration
UNCENSORED = ("pg13-mixed", "pg15-mixed", "pg16-mixed")
_FEWEST = 1000
#: trains of chance over each log, at least
_TRAINS = 200


def real_runs(folders: list[Path]) -> dict[str, Run]:
    """The executions of each folder's log."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        lake = pgtrace.open(Path(scratch) / "lake")
        for folder in folders:
            lake.ingest(folder, server=folder.name)
            rows = lake.sql(
                "select epoch_us(started_at) / 1e6 as at, duration_ms, fingerprint from statement "
                f"where server = '{folder.name}' and phase not in ('parse', 'bind') order by all"
            ).pl()
            if rows.height >= _FEWEST:
                shapes = rows["fingerprint"].fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
                found[folder.name] = Run(rows["at"].to_numpy(), rows["duration_ms"].to_numpy(), shapes)
    return found


def table(rng: np.random.Generator, real: dict[str, Run], times: int) -> Iterator[Row]:
    """All rows."""
    few = max(times // 2, 10)
    for name, run in real.items():
        yield from nothing_there(rng, name, run, max(times, _TRAINS))
        yield from once_by_chance(rng, name, run, few)
    made = noise(rng, mix(rng, 3600.0), 0.95, 0.15)
    yield from nothing_there(rng, "made, autocorrelated", made, max(times, _TRAINS))
    for factor in (1.2, 1.5, 2.0, 3.0):
        yield from planted(rng, "made", None, factor, 0.0, 24, max(times, _TRAINS) if factor == 1.5 else few)
    for name, run in real.items():
        yield from planted_beside(rng, f"{name} replayed", run, 1.5, 0.0, 24, few)
    for from_ms in (0.01, 1.0, 5.0):
        yield from planted(rng, "made", None, 1.5, from_ms, 24, few)
    yield from planted(rng, "made", None, 1.5, 0.0, 8, few)
    yield from planted(rng, "made", None, 1.5, 0.0, 12, few)
    yield from in_weather(rng, few)
    yield from even_p(rng, few)
    yield from pile_ups(rng, few)
    yield from unlike(rng, few)
    yield from together(rng, few)
    yield from clocks(rng, few)
    yield from jobs(rng, few)
    yield from regular(rng, few)
    yield from fewer(rng, few)
    yield from limits(rng, few)


def line(row: Row) -> str:
    """A row as Markdown."""
    limit = f"{row.low:.3g} to {row.high:.3g}" if np.isfinite(row.high) else ""
    kept = "yes" if row.is_kept else "**no**"
    return f"| {row.question} | {row.case} | {row.measured} | {row.value:.2f} | {limit} | {kept} | {row.replicates} |"


def main() -> None:
    """Run from the command line."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--replicates", type=int, default=200)
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--logs", type=Path, action="append")
    reader.add_argument("--write", type=Path)
    given = reader.parse_args()
    folders = given.logs or [SAMPLES / name for name in UNCENSORED]
    head = "| question | case | measured | value | limit | kept | tries |\n|---|---|---|---|---|---|---|"
    print(head, flush=True)
    rows = []
    for row in table(np.random.default_rng(given.seed), real_runs(folders), given.replicates):
        rows.append(row)
        print(line(row), flush=True)
    if given.write:
        text = given.write.read_text().split("<!-- measured -->")[0]
        given.write.write_text(text + "<!-- measured -->\n\n" + "\n".join([head, *map(line, rows)]) + "\n")
    sys.exit(0 if all(row.is_kept for row in rows) else 1)


if __name__ == "__main__":
    main()
