"""Executions with known effects, handed to the statistics as a lake would hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from pgtrace.analysis.censoring import Logging
from pgtrace.analysis.executions import SLOW_SHARE, Executions, of_rows
from pgtrace.analysis.finding import Finding, find_all
from pgtrace.analysis.grid import Booleans, Floats, Grid, Integers
from pgtrace.analysis.kinds import Kind
from pgtrace.analysis.verdicts import judged
from pgtrace.analysis.windows import train_of

#: begins and ends of events, in seconds
Events = tuple[Floats, Floats]
_KEPT_FROM = 0.4
#: a replay draws stretches this long from a real log
_BLOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """Executions: when they started (s), how long they took (ms), and of which query they were."""

    starts: Floats
    durations: Floats
    shapes: Integers

    def slowed(self, events: Events, factor: float) -> Run:
        """With those that start in an event taking ``factor`` times as long."""
        return Run(self.starts, self.durations * np.where(within(self.starts, events), factor, 1.0), self.shapes)

    def kept(self, which: Booleans) -> Run:
        """Some of them."""
        return Run(self.starts[which], self.durations[which], self.shapes[which])


def within(times: Floats, events: Events) -> Booleans:
    """Which times are in an event; events are in order and apart."""
    begins, ends = events
    place = np.searchsorted(begins, times, "right") - 1
    return np.asarray((place >= 0) & (times < ends[np.maximum(place, 0)]))


def executions(run: Run, from_ms: float = 0.0, resolution_ms: float = 1.0) -> Executions:
    """As a lake of a log with this log_min_duration_statement and this resolution would give them."""
    run = run.kept(run.durations >= from_ms)
    starts = run.starts
    if resolution_ms >= 1000:  # the log has the end in whole seconds, the start is less the duration
        starts = np.floor(starts + run.durations / 1000) - run.durations / 1000
    grid = Grid.over(float(starts.min()), float(starts.max()), resolution_ms / 1000)
    rows = pl.DataFrame(
        {"shape": run.shapes, "bin": grid.position(starts).astype(np.int32), "duration_ms": run.durations}
    )
    shapes = (
        rows.group_by("shape")
        .agg(
            pl.len().alias("calls"),
            pl.sum("duration_ms").alias("total_ms"),
            pl.quantile("duration_ms", _KEPT_FROM, "linear").alias("kept_ms"),
            pl.max_horizontal(pl.quantile("duration_ms", 1 - SLOW_SHARE, "linear"), pl.lit(from_ms)).alias("slow_ms"),
        )
        .sort("total_ms", descending=True)
        .rename({"shape": "old"})
        .with_row_index("shape")
        .with_columns(pl.format("q{}", "old").alias("fingerprint"), pl.col("shape").cast(pl.Int32))
    )
    rows = rows.join(shapes.select("shape", "kept_ms", old="old"), left_on="shape", right_on="old").drop("shape")
    rows = rows.rename({"shape_right": "shape"}) if "shape_right" in rows.columns else rows
    return of_rows(
        grid,
        Logging(from_ms, resolution_ms, False),
        shapes.select("shape", "fingerprint", "calls", "total_ms", "slow_ms"),
        rows.group_by("shape", "bin").agg(pl.len().cast(pl.Int32).alias("calls")).sort("shape", "bin"),
        rows.filter(pl.col("duration_ms") >= pl.col("kept_ms"))
        .sort("shape", "bin")
        .select("shape", "bin", pl.col("duration_ms").cast(pl.Float32)),
    )


def judge(found: Executions, kinds: Mapping[str, Events]) -> list[Finding]:
    """What the statistics say of these kinds of events."""
    trains = [
        Kind("made", name, train_of(found.grid.position(begins), found.grid.position(ends), found.grid.bins))
        for name, (begins, ends) in kinds.items()
    ]
    return judged(found, find_all(found, "made", trains))


def of_all(findings: list[Finding], kind: str) -> Finding:
    """The finding about all queries together."""
    return next(one for one in findings if one.kind.kind == kind and one.shape is None)


def events(rng: np.random.Generator, seconds: float, count: int, length: float, jitter: float = 0.5) -> Events:
    """Events in order and apart, of half to one and a half times ``length``; ``jitter`` 0 is a clock."""
    every = seconds / count
    begins = (np.arange(count) + 0.2 + rng.uniform(0, jitter, count)) * every
    lengths = length * (rng.uniform(0.5, 1.5, count) if jitter else np.ones(count))
    return begins, np.minimum(begins + lengths, np.append(begins[1:], seconds) - 0.1)


def mix(rng: np.random.Generator, seconds: float, per_second: float = 40.0, shapes: int = 4) -> Run:
    """Executions of several queries, each lognormal, at a steady rate."""
    starts = np.sort(rng.uniform(0, seconds, rng.poisson(seconds * per_second)))
    shape = rng.integers(0, shapes, len(starts))
    return Run(starts, 2.0 * 1.8**shape * rng.lognormal(0, 0.8, len(starts)), shape)


def replayed(rng: np.random.Generator, real: Run, seconds: float) -> Run:
    """A longer run out of a real one: stretches of it, in an order of chance, each as it was."""
    first, last = float(real.starts.min()), float(real.starts.max())
    blocks = int(np.ceil(seconds / _BLOCK_S))
    parts = []
    for number in range(blocks):
        at = rng.uniform(first, max(last - _BLOCK_S, first + 1e-6))
        low, high = np.searchsorted(real.starts, [at, at + _BLOCK_S])
        part = slice(int(low), int(high))
        parts.append(Run(real.starts[part] - at + number * _BLOCK_S, real.durations[part], real.shapes[part]))
    return Run(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.durations for part in parts]),
        np.concatenate([part.shapes for part in parts]),
    )
