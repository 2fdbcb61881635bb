"""An episode and the time around it in steps, for a picture: executions, excess, and what went on beside them."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import polars as pl

from pgtrace.analysis.periods import Periods, ask

_STEPS = 72
_SHORTEST_S = 0.2
_MOST_LANES = 8


def timeline(connection: duckdb.DuckDBPyConnection, periods: Periods) -> pl.DataFrame:
    """starting_at, calls, p95_ms, slow_s (seconds in executions that started in the step), and lanes.

    ``lanes`` is a list of structs (kind, covered): which share of the step events of the kind covered.
    """
    first_s, last_s = periods.before_from.timestamp(), periods.after_to.timestamp()
    width = max((last_s - first_s) / _STEPS, _SHORTEST_S)
    steps = int(np.ceil((last_s - first_s) / width))
    counted = ask(
        connection,
        periods,
        f"""
        select cast(floor((epoch_us(started_at) / 1e6 - {first_s!r}) / {width!r}) as bigint) as step,
            count(*) as calls, quantile_cont(duration_ms, 0.95) as p95_ms, round(fsum(duration_ms), 3) / 1000 as busy_s
        from statement
        inner join pgtrace_period on started_at >= from_at and started_at < to_at
        where server = $server and phase not in ('parse', 'bind') and duration_ms is not null
        group by step
        order by step
        """,
    )
    events = ask(
        connection,
        periods,
        """
        select distinct kind, epoch_us(started_at) / 1e6 as start_s, epoch_us(ended_at) / 1e6 as end_s
        from event_window
        inner join pgtrace_period on started_at < to_at and ended_at > from_at
        where server = $server
        order by all
        """,
    )
    covered = _covered(events, first_s, width, steps)
    lanes = [
        [{"kind": kind, "covered": float(share[step])} for kind, share in covered.items()] for step in range(steps)
    ]
    starts = [periods.before_from + timedelta(seconds=width * step) for step in range(steps)]
    frame = pl.DataFrame(
        {"step": list(range(steps)), "starting_at": starts, "lanes": lanes},
        schema_overrides={
            "starting_at": pl.Datetime("us", "UTC"),
            "lanes": pl.List(pl.Struct({"kind": pl.String, "covered": pl.Float64})),
        },
    )
    return (
        frame.join(counted, on="step", how="left", maintain_order="left")
        .with_columns(pl.col("calls").fill_null(0), pl.col("busy_s").fill_null(0.0))
        .select("starting_at", "calls", "p95_ms", "busy_s", "lanes")
    )


def _covered(events: pl.DataFrame, first_s: float, width: float, steps: int) -> dict[str, np.ndarray]:
    """Per kind the share of each step that its events cover; the kinds with most time."""
    edges = first_s + width * np.arange(steps + 1)
    found = {}
    for (kind,), own in events.group_by("kind", maintain_order=True):
        share = np.zeros(steps)
        for start, end in zip(own["start_s"], own["end_s"], strict=True):
            share += np.clip(np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1]), 0, None) / width
        found[str(kind)] = np.minimum(share, 1.0)
    ranked = sorted(found, key=lambda kind: (-float(found[kind].sum()), kind))[:_MOST_LANES]
    return {kind: found[kind] for kind in ranked}
