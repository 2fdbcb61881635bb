"""The data of the timeline: steps of latency and load, and the lanes of what went on beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log10
from typing import Any

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask, condensed
from pgtrace.report.page.markup import visible
from pgtrace.report.page.span import Span

#: steps of the timeline, and events of a lane that are drawn one by one: both bound the size of the page
STEPS, EVENTS = 500, 200
#: the lanes from top to bottom, as they are named in event_timeline and on the page
LANES = {
    "checkpoint": "Checkpoints",
    "vacuum": "Vacuum",
    "lock wait": "Lock waits",
    "temporary file": "Temp files",
    "WAL burst": "WAL bursts",
    "error": "Errors",
    "trouble": "Trouble",
}
_LEAST_MS = 0.001
Rows = list[dict[str, Any]]


def latency_rows(lake: LakeHandle, span: Span) -> Rows:
    """One row for each step of the span: begin and end on the axis, p50, p95, p99 in ms (None where nothing started),
    executions and seconds at work per second, and the texts of a tooltip.
    """
    step_s = span.step_s(STEPS)
    known = {row["starting_at"]: row for row in ask(lake, span, "timeline", step_s=step_s).to_dicts()}
    if not known:
        return []
    rows = [_step(span, time, step_s, known.get(time)) for time in _steps(span, step_s)]
    for before, row, after in zip([None, *rows], rows, [*rows[1:], None], strict=False):
        row["alone"] = row["p50"] is not None and all(one is None or one["p50"] is None for one in (before, after))
    return rows


def lane_rows(lake: LakeHandle, span: Span) -> Rows:
    """One row per event, or per step of a lane with many: lane, begin and end on the axis, the texts of a tooltip."""
    found = ask(lake, span, "event_timeline", step_s=span.step_s(STEPS), most=EVENTS).to_dicts()
    return [_event(span, row) for row in found]


def wal_rows(lake: LakeHandle, span: Span) -> Rows:
    """One row per step with WAL: begin and end on the axis, MB per second as full page images and as the rest."""
    step_s = span.step_s(STEPS)
    # the first second of its step, by the numbers of seconds
    step = f"epoch_us(second) // {1_000_000 * step_s}"
    sums = "cast(sum(bytes) as bigint) as bytes, cast(sum(fpi_bytes) as bigint) as fpi_bytes"
    steps = condensed(lake, span, "wal_by_second", f"{step} as step, {sums}", step, "step")
    return [_wal_step(span, row, step_s) for row in steps.to_dicts()]


def trends(lake: LakeHandle, span: Span, top: int, steps: int) -> dict[str | None, list[float | None]]:
    """For each of the top queries its 95th percentile in each of at most ``steps`` steps."""
    step_s = span.step_s(steps)
    found = ask(lake, span, "query_timeline", step_s=step_s, top=top)
    times = {time: at for at, time in enumerate(_steps(span, step_s))}
    lines: dict[str | None, list[float | None]] = {}
    for fingerprint, time, p95 in found.select("fingerprint", "starting_at", "p95_ms").iter_rows():
        line = lines.setdefault(fingerprint, [None] * len(times))
        if time in times:
            line[times[time]] = p95
    return lines


def _steps(span: Span, step_s: int) -> list[datetime]:
    """When each step of the span begins, UTC."""
    # in whole seconds, as the queries cut them
    first = datetime.fromtimestamp(int(span.first_at.timestamp()) // step_s * step_s, UTC)
    count = int((span.last_at - first).total_seconds() // step_s) + 1
    return pl.datetime_range(
        first, first + timedelta(seconds=step_s * (count - 1)), f"{step_s}s", time_zone="UTC", eager=True
    ).to_list()


def _step(span: Span, time: datetime, step_s: int, row: dict[str, Any] | None) -> dict[str, Any]:
    begin = span.chart_ms(time)
    latencies = {name: None if row is None else row[f"{name}_ms"] for name in ("p50", "p95", "p99")}
    executions, busy = (0, 0.0) if row is None else (row["executions"], row["busy_s"] / step_s)
    tip = {"When": _between(span, time, time + timedelta(seconds=step_s))}
    tip |= {name: figures.milliseconds(value) for name, value in latencies.items() if value is not None}
    if row is not None and row["max_ms"] is not None:
        tip["slowest"] = figures.milliseconds(row["max_ms"])
    tip["executions"] = f"{executions:,} ({figures.number(executions / step_s)} per second)"
    tip["at work"] = f"{figures.number(busy)} sessions on average"
    return {
        "t": begin,
        "m": begin + 500 * step_s,
        "u": begin + 1000 * step_s,
        **{name: None if value is None else _rounded(max(value, _LEAST_MS)) for name, value in latencies.items()},
        "busy": _rounded(busy),
        "tip": tip,
    }


def _event(span: Span, row: dict[str, Any]) -> dict[str, Any]:
    begin, end = max(row["started_at"], span.first_at), min(row["ended_at"], span.last_at)
    took = "longest" if row["events"] > 1 else "took"
    tip = {"What": row["kind"] or LANES[row["lane"]].lower()}
    if row["events"] > 1:
        tip["events"] = f"{row['events']:,}"
    if row["relation"]:
        tip["on"] = visible(row["relation"], 120)
    tip["When"] = _between(span, row["started_at"], row["ended_at"])
    if row["longest_s"]:
        tip[took] = figures.seconds(row["longest_s"])
    if row["magnitude"] is not None and row["unit"] is not None:
        is_size = row["unit"] == "bytes"
        tip[row["unit"]] = figures.size(row["magnitude"]) if is_size else figures.number(row["magnitude"])
    return {"lane": LANES[row["lane"]], "t": span.chart_ms(begin), "u": span.chart_ms(max(begin, end)), "tip": tip}


def _wal_step(span: Span, row: dict[str, Any], step_s: int) -> dict[str, Any]:
    time = datetime.fromtimestamp(row["step"] * step_s, span.first_at.tzinfo)
    begin = span.chart_ms(time)
    tip = {
        "When": _between(span, time, time + timedelta(seconds=step_s)),
        "WAL": f"{figures.size(row['bytes'])} ({figures.size(row['bytes'] / step_s)} per second)",
        "full page images": figures.size(row["fpi_bytes"]),
    }
    mb_s = 1024**2 * step_s
    return {
        "t": begin,
        "u": begin + 1000 * step_s,
        "fpi": _rounded(row["fpi_bytes"] / mb_s),
        "wal": _rounded(row["bytes"] / mb_s),
        "tip": tip,
    }


def _between(span: Span, begin: datetime, end: datetime) -> str:
    same_day = begin.astimezone(span.zone).date() == end.astimezone(span.zone).date()
    if span.words(begin) == span.words(end):
        return span.words(begin)
    return f"{span.words(begin)} – {span.words(end, with_date=not same_day)}"


def _rounded(value: float) -> float:
    """Four digits: no pixel needs more."""
    return 0.0 if value == 0 else round(value, max(0, 3 - int(log10(abs(value)) // 1)))
