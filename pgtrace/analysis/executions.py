"""The executions of one server, read once out of the lake: counts, and the durations of the slower ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pgtrace.analysis.censoring import COMPARED, Facts, Logging, logging_of
from pgtrace.analysis.grid import Booleans, Counts, Floats, Grid, Integers

#: what counts as slow is decided later, between this quantile and the top; of a short log more is kept
_KEPT_FROM, _KEPT_FROM_SHORT, _SHORT = 0.75, 0.4, 2_000_000
#: what counts as slow: one in ten of the executions outside of the events
SLOW_SHARE = 0.1
#: more executions than this: quantiles are estimated (t-digest), not sorted out
_EXACT_BELOW = 5_000_000
#: a gap this long with no execution at all: the log, or the server, was not there
_ABSENT_S = 120.0


@dataclass(frozen=True, slots=True)
class Executions:
    """Rows of bins (``cell_*``: shape, bin, executions) and of slow executions (``slow_*``), sorted by shape and bin.

    ``shapes`` has, in the order of the numbers that stand for them: fingerprint, calls, total_ms, slow_ms (the 90th
    percentile, or the logging threshold). ``usual`` is slow_ms as an array.
    """

    grid: Grid
    logging: Logging
    shapes: pl.DataFrame
    usual: Floats
    cell_shape: NDArray[np.int32]
    cell_bin: NDArray[np.int32]
    cell_calls: NDArray[np.int32]
    slow_shape: NDArray[np.int32]
    slow_bin: NDArray[np.int32]
    slow_ms: NDArray[np.float32]
    #: the slow rows by shape and duration
    ranked_bin: NDArray[np.int32]
    ranked_ms: NDArray[np.float32]
    #: where each shape's rows begin, and where the last one's end
    cells_from: Integers
    slow_from: Integers
    observed: Booleans

    def slow_s(self, thresholds: Floats, shapes: Booleans | None = None) -> float:
        """Seconds beyond what counts as slow, of all executions or those of the shapes that are marked."""
        over = np.maximum(self.slow_ms - thresholds[self.slow_shape], 0)
        if shapes is not None:
            over = over[shapes[self.slow_shape]]
        return float(np.sum(over, dtype=np.float64)) / 1000

    def counts(self, thresholds: Floats, shapes: Booleans | int | None = None) -> Counts:
        """Counts of one shape (its number), of those marked, or of all; what is slow is each shape's own."""
        cells, _ = self.rows(shapes)
        bins = self.grid.bins
        if self.logging.is_censored:
            base = np.where(self._present(cells) if isinstance(shapes, int) else self.observed, self.grid.width_s, 0.0)
        else:
            base = self.calls(shapes)
        place, over_s = self._over(thresholds, shapes)
        slow_calls = np.bincount(place, minlength=bins).astype(np.float64)
        return Counts.of_bins(base, slow_calls, np.bincount(place, over_s, bins).astype(np.float64))

    def _over(self, thresholds: Floats, shapes: Booleans | int | None) -> tuple[NDArray[np.int32], Floats]:
        """The bins of the executions above the thresholds, and by how many seconds they are."""
        if isinstance(shapes, int):
            first, last = self.slow_from[shapes : shapes + 2]
            first += int(np.searchsorted(self.ranked_ms[first:last], np.float32(thresholds[shapes]), side="right"))
            return self.ranked_bin[first:last], (self.ranked_ms[first:last] - thresholds[shapes]) / 1000
        _, slow = self.rows(shapes)
        over = self.slow_ms[slow] - thresholds[self.slow_shape[slow]]
        is_over = over > 0
        return self.slow_bin[slow][is_over], over[is_over] / 1000

    def calls(self, shapes: Booleans | int | None = None) -> Floats:
        """Executions that started in each bin."""
        cells, _ = self.rows(shapes)
        return np.bincount(self.cell_bin[cells], self.cell_calls[cells], self.grid.bins).astype(np.float64)

    def rows(self, shapes: Booleans | int | None) -> tuple[slice | Booleans, slice | Booleans]:
        """The rows of these shapes among the cells and among the slow executions."""
        if shapes is None or (not isinstance(shapes, int) and bool(shapes.all())):
            return slice(None), slice(None)
        if isinstance(shapes, int):
            return slice(*self.cells_from[shapes : shapes + 2]), slice(*self.slow_from[shapes : shapes + 2])
        return shapes[self.cell_shape], shapes[self.slow_shape]

    def _present(self, cells: slice | Booleans) -> Booleans:
        """The bins of the time in which a shape was in use: not before its first execution, nor in long absences."""
        bins = self.cell_bin[cells]
        present = np.zeros(self.grid.bins, np.bool_)
        if len(bins):
            longest = max(600.0 / self.grid.width_s, 50 * float(np.median(np.diff(bins)))) if len(bins) > 1 else 1.0
            present = _without_gaps(bins, self.grid.bins, longest)
        return present & self.observed


def _without_gaps(bins: NDArray[np.int32], count: int, longest: float) -> Booleans:
    """Bins from the first to the last of ``bins`` but for gaps longer than ``longest``."""
    change = np.zeros(count + 1, np.int64)
    breaks = np.flatnonzero(np.diff(bins) > longest)
    np.add.at(change, np.concatenate((bins[:1], bins[breaks + 1])), 1)
    np.add.at(change, np.concatenate((bins[breaks], bins[-1:])) + 1, -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def load(
    connection: duckdb.DuckDBPyConnection, server: str, since: datetime | None, until: datetime | None
) -> Executions | None:
    """Read the executions of a server; None where there are fewer than two."""
    bounds = {"server": server, "since": since, "until": until}
    facts = logging_of(connection, bounds)
    if facts is None:
        return None
    grid = Grid.over(facts.first_s, facts.last_s, facts.resolution_ms / 1000)
    shapes = _shapes(connection, bounds, facts)
    offset = f"floor((epoch_us(started_at) / 1e6 - {grid.origin_s!r}) / {grid.width_s!r})"
    position = f"cast(least({offset}, {grid.bins - 1}) as bigint)"
    rows = f"""
        select cast(shape as bigint) * {grid.bins} + {position} as place, %s
        from statement
        inner join pgtrace_shape on coalesce(statement.fingerprint, '') = pgtrace_shape.fingerprint
        where {COMPARED} %s"""
    connection.register("pgtrace_shape", shapes.select("shape", "fingerprint", "kept_ms"))
    try:
        calls = "cast(count(*) as integer) as calls"
        cells = connection.sql(rows % (calls, "group by all"), params=bounds).pl()
        duration = "cast(duration_ms as float) as duration_ms"
        slow = connection.sql(rows % (duration, "and duration_ms >= kept_ms"), params=bounds).pl()
    finally:
        connection.unregister("pgtrace_shape")
    return of_rows(grid, facts.logging, shapes.drop("kept_ms"), _placed(cells, grid), _placed(slow, grid))


def _placed(rows: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Rows by shape and bin, from one number for both."""
    shape, place = pl.col("place") // grid.bins, pl.col("place") % grid.bins
    return rows.sort("place").select(shape.cast(pl.Int32).alias("shape"), place.cast(pl.Int32).alias("bin"), pl.last())


def of_rows(grid: Grid, logging: Logging, shapes: pl.DataFrame, cells: pl.DataFrame, slow: pl.DataFrame) -> Executions:
    """From cells (shape, bin, calls) and slow executions (shape, bin, duration_ms), both sorted by shape and bin."""
    bins = np.flatnonzero(np.bincount(cells["bin"].to_numpy(), minlength=grid.bins)).astype(np.int32)
    usual_gap = float(np.median(np.diff(bins))) if len(bins) > 1 else 1.0
    slow_shape, slow_bin, slow_ms = (slow[column].to_numpy() for column in ("shape", "bin", "duration_ms"))
    by_duration = np.lexsort((slow_ms, slow_shape))
    return Executions(
        grid=grid,
        logging=logging,
        shapes=shapes,
        # as short as the durations are kept, so that what is equal to the limit is not above it
        usual=shapes["slow_ms"].to_numpy().astype(np.float32).astype(np.float64),
        cell_shape=cells["shape"].to_numpy(),
        cell_bin=cells["bin"].to_numpy(),
        cell_calls=cells["calls"].to_numpy(),
        slow_shape=slow_shape,
        slow_bin=slow_bin,
        slow_ms=slow_ms,
        ranked_bin=slow_bin[by_duration],
        ranked_ms=slow_ms[by_duration],
        cells_from=_begins(cells["shape"].to_numpy(), shapes.height),
        slow_from=_begins(slow_shape, shapes.height),
        observed=_without_gaps(bins, grid.bins, max(_ABSENT_S / grid.width_s, 50 * usual_gap)),
    )


def _begins(shape: NDArray[np.int32], shapes: int) -> Integers:
    """Where each shape's rows begin among rows sorted by shape, and where the last one's end."""
    return np.concatenate(([0], np.cumsum(np.bincount(shape, minlength=shapes)))).astype(np.int64)


def _shapes(connection: duckdb.DuckDBPyConnection, bounds: Mapping[str, object], facts: Facts) -> pl.DataFrame:
    """One row per shape, those with most time first; kept_ms and slow_ms are the quantiles to keep from, and slow."""
    exact = facts.statements <= _EXACT_BELOW
    kept_from = _KEPT_FROM_SHORT if facts.statements <= _SHORT else _KEPT_FROM
    quantiles = f"{'quantile_cont' if exact else 'approx_quantile'}(duration_ms, [{kept_from}, {1 - SLOW_SHARE}])"
    shapes: pl.DataFrame = connection.sql(
        f"""
        select coalesce(fingerprint, '') as fingerprint, count(*) as calls, round(fsum(duration_ms), 3) as total_ms,
            {quantiles} as quantiles
        from statement
        where {COMPARED}
        group by all
        order by total_ms desc, fingerprint
        """,
        params=dict(bounds),
    ).pl()
    return (
        shapes.with_columns(
            pl.col("quantiles").list.get(0).alias("kept_ms"),
            pl.max_horizontal(pl.col("quantiles").list.get(1), pl.lit(facts.logging.from_ms)).alias("slow_ms"),
        )
        .drop("quantiles")
        .with_row_index("shape")
    )
