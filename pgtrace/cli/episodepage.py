"""A slow episode as a page: when, a picture of it, what explains it, and what was different."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgtrace.analysis.phrases import phrase
from pgtrace.cli.page import count, moment, one_line, seconds, share, times

if TYPE_CHECKING:
    from rich.console import Console

    from pgtrace.analysis.episode import Episode

_MOST_EXPLANATIONS, _MOST_QUERIES, _MOST_DIFFERENCES = 6, 6, 14
_BLOCKS = " ▁▂▃▄▅▆▇█"
#: amounts that changed by less than this are no difference
_LEAST_TIMES = 1.3
_LANE = 22


def print_episode(console: Console, episode: Episode, asked: datetime) -> None:
    """Print the page; ``asked`` is the time that was asked for."""
    console.print(_headline(episode), style="bold")
    if not episode.started_at <= asked < episode.ended_at:
        console.print(f"At {moment(asked)} itself it was not slow; this is the nearest such time.")
    console.print()
    _print_timeline(console, episode)
    _print_explanations(console, episode)
    _print_queries(console, episode)
    _print_differences(console, episode)


def as_parts(episode: Episode) -> dict[str, Any]:
    """All of it, for JSON."""
    from pgtrace.report.csvfile import with_iso_times

    tables = {
        "explanations": episode.explanations,
        "queries": episode.queries,
        "differences": episode.differences,
        "timeline": episode.timeline,
    }
    facts = {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in episode.facts.items()
    }
    parts: dict[str, Any] = {**facts, "surrounding_excess_s": episode.excess_s}
    return parts | {name: with_iso_times(rows).to_dicts() for name, rows in tables.items()}


def _headline(episode: Episode) -> str:
    facts = episode.facts
    length = (episode.ended_at - episode.started_at).total_seconds()
    is_one_day = episode.started_at.date() == episode.ended_at.date()
    span = f"{moment(episode.started_at)} to {moment(episode.ended_at, day=not is_one_day)} UTC ({length:,.0f} s)"
    who = "queries were" if facts["query_text"] == "(all)" else "one query was"
    first = (
        f"{episode.server}: {who} slow from {span}: {count(facts['slow_calls'], 'slow execution')} of "
        f"{facts['calls']:,}, {seconds(episode.excess_s)} s more than usual."
    )
    best = episode.explanations.head(1).to_dicts()
    if not best or best[0]["certainty"].startswith("goes on"):
        return f"{first} Nothing that the log tells of was at work then and not at quiet times."
    row = best[0]
    return f"{first} Most of it is associated with {phrase(row['kind'])}: {row['certainty']}."


def _print_timeline(console: Console, episode: Episode) -> None:
    """Seconds in executions and their 95th percentile per step, and what went on, under each other."""
    from rich.text import Text

    rows = episode.timeline
    steps = max(console.width - _LANE - 2, 20)
    while rows.height > steps:
        rows = rows.gather_every(2)
    starts = rows["starting_at"].to_list()
    inside = [episode.started_at <= start < episode.ended_at for start in starts]
    lines = {
        "time in executions": _scaled(rows["busy_s"].to_list()),
        "95th percentile": _scaled(rows["p95_ms"].to_list()),
        "executions": _scaled(rows["calls"].to_list()),
    }
    kinds = [lane["kind"] for lane in rows["lanes"][0]] if rows.height else []
    for place, kind in enumerate(kinds):
        covered = [lanes[place]["covered"] for lanes in rows["lanes"]]
        lines[kind] = "".join("█" if part >= 0.5 else "▄" if part > 0 else " " for part in covered)
    for name, cells in lines.items():
        console.print(Text(f"{name[: _LANE - 2]:>{_LANE - 2}}  ") + Text(cells), no_wrap=True)
    ruler = "".join("─" if here else "·" for here in inside)
    console.print(Text(f"{'the episode':>{_LANE - 2}}  {ruler}"), no_wrap=True)
    last = moment(starts[-1], day=False)
    blanks = " " * max(len(starts) - 16, 1)
    console.print(Text(f"{'':>{_LANE - 2}}  {moment(starts[0], day=False)}{blanks}{last}"), no_wrap=True)
    largest = max(rows["p95_ms"].drop_nulls().to_list(), default=0.0)
    console.print(Text(f"{'':>{_LANE - 2}}  full height: 95th percentile {largest:,.1f} ms"), no_wrap=True)
    console.print()


def _scaled(values: list[float | None]) -> str:
    """One block per value; the highest is the largest."""
    largest = max((value for value in values if value is not None), default=0.0)
    if not largest:
        return " " * len(values)
    steps = len(_BLOCKS) - 1
    return "".join(" " if not value else _BLOCKS[max(1, round(value / largest * steps))] for value in values)


def _print_explanations(console: Console, episode: Episode) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if episode.explanations.is_empty():
        console.print("No event beside the queries is logged in this time that slow executions started in.\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("what was at work", ratio=2, min_width=20)
    for title in ("of the excess", "of quiet time", "lift"):
        table.add_column(title, justify="right", no_wrap=title == "lift")
    table.add_column("how sure", ratio=2, min_width=16)
    table.add_column("over the whole log", ratio=1, min_width=14)
    for row in episode.explanations.head(_MOST_EXPLANATIONS).iter_rows(named=True):
        subject = f" ({one_line(row['subject'], 60)})" if row["subject"] else ""
        table.add_row(
            str(row["rank"]),
            Text(f"{row['process']}: {row['kind']}{subject}"),
            share(row["explained_pct"]),
            share(row["quiet_pct"]),
            times(row["lift"]),
            row["certainty"],
            _of_log(row),
        )
    console.print(table)
    recorded = episode.explanations.filter(kind="lock wait")["recorded_s"].to_list()
    if recorded and recorded[0]:
        console.print(f"Waits for locks that the server recorded in it: {seconds(recorded[0])} s.\n")


def _of_log(row: dict[str, Any]) -> str:
    if row["log_verdict"] is None:
        return "not tested"
    ratio = times(row["log_times_slower"] or row["log_slow_ratio"])
    return f"{row['log_verdict']} {ratio}".strip()


def _print_queries(console: Console, episode: Episode) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("queries that took more time", ratio=1, min_width=24)
    for title in ("extra s", "calls", "as often", "p95 ms", "usual p95"):
        table.add_column(title, justify="right", no_wrap=title not in ("as often", "usual p95"))
    for row in episode.queries.head(_MOST_QUERIES).iter_rows(named=True):
        text = one_line(row["query_text"]) or "(statement not logged)"
        often = "new" if row["is_new"] else times(row["calls_times"])
        table.add_row(
            Text(text, no_wrap=True, overflow="ellipsis"),
            seconds(row["extra_s"]),
            f"{row['calls']:,}",
            often,
            seconds(row["p95_ms"]),
            seconds(row["usual_p95_ms"]),
        )
    if table.row_count:
        console.print(table)


def _print_differences(console: Console, episode: Episode) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what was different", ratio=1, min_width=24)
    for title in ("before", "during", "after", "times"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in episode.differences.head(_MOST_DIFFERENCES).iter_rows(named=True):
        factor = row["times"]
        if row["topic"] not in ("load", "WAL") and factor is not None and 1 / _LEAST_TIMES < factor < _LEAST_TIMES:
            continue
        name = one_line(f"{row['topic']}: {row['what']}") + (f", {row['unit']}" if row["unit"] else "")
        amounts = (seconds(row[period]) or "-" for period in ("before", "during", "after"))
        table.add_row(name, *amounts, times(factor) if factor is not None else "new" if row["during"] else "")
    if table.row_count:
        console.print(table)
