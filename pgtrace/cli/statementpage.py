"""One slow execution as a page."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgtrace.cli.page import count, moment, one_line, seconds, share, times

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from pgtrace.analysis.onestatement import OneStatement

_MOST_EVENTS, _MOST_PLAN_LINES = 10, 40
#: fewer executions say nothing of how slow one is
_FEWEST_CALLS = 5


def print_statement(console: Console, found: OneStatement) -> None:
    """Print the page."""
    row = found.statement
    console.print(_headline(found), style="bold")
    who = [row["user_name"], row["database_name"], row["application_name"], row["client_host"]]
    console.print(
        f"Process {row['pid']} ({', '.join(one_line(part, 60) for part in who if part)}), logged at "
        f"{row['source_id']}:{row['line_no']} of {row['server']}."
    )
    console.print(one_line(row["query_text"], 600) or "(the statement was not logged)", style="italic")
    console.print()
    _print_chain(console, found.chain)
    _print_events(console, found)
    for file in found.temp_files.iter_rows(named=True):
        console.print(f"It wrote a temporary file of {file['size_bytes']:,} bytes ({one_line(file['path'])}).")
    for error in found.errors.iter_rows(named=True):
        console.print(f"{error['severity']}: {one_line(error['message'])} ({one_line(error['condition'])})")
    for plan in found.plans.iter_rows(named=True):
        lines = (plan["plan_text"] or "").splitlines()
        console.print("\nIts plan:")
        for line in lines[:_MOST_PLAN_LINES]:
            blanks = len(line) - len(line.lstrip())
            console.print(" " * blanks + one_line(line), no_wrap=True, overflow="ellipsis")
        if len(lines) > _MOST_PLAN_LINES:
            console.print(f"… {len(lines) - _MOST_PLAN_LINES} more lines")


def as_parts(found: OneStatement) -> dict[str, Any]:
    """All of it, for JSON."""
    from pgtrace.report.csvfile import with_iso_times

    tables: dict[str, pl.DataFrame] = {
        "events": found.events,
        "chain": found.chain,
        "temp_files": found.temp_files,
        "errors": found.errors,
        "plans": found.plans,
    }
    statement = {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in found.statement.items()
    }
    return {
        "statement": statement,
        "usual": found.usual,
        **{name: with_iso_times(rows).to_dicts() for name, rows in tables.items()},
    }


def _headline(found: OneStatement) -> str:
    row, usual = found.statement, found.usual
    took = f"{seconds(row['duration_ms'] / 1000)} s" if row["duration_ms"] >= 1000 else f"{row['duration_ms']:.3g} ms"
    first = f"It took {took}, from {moment(row['started_at'])} to {moment(row['logged_at'], day=False)} UTC"
    if usual["calls"] < _FEWEST_CALLS:
        return f"{first}; the query is logged {count(usual['calls'], 'time')} only, so there is no usual duration."
    return (
        f"{first}: longer than {usual['faster_pct']:.3g} % of the {usual['calls']:,} executions of its query (median "
        f"{usual['p50_ms']:.3g} ms, 95th percentile {usual['p95_ms']:.3g} ms)."
    )


def _print_chain(console: Console, chain: pl.DataFrame) -> None:
    if chain.is_empty():
        console.print("It waited for no lock that was logged (log_lock_waits, longer than deadlock_timeout).\n")
        return
    for row in chain.iter_rows(named=True):
        indent = "   " * row["depth"]
        waited = ""
        if row["waiting_since"] is not None:
            waited = (
                f" waited {seconds((row['waited_ms'] or 0) / 1000)} s from {moment(row['waiting_since'], day=False)} "
                f"for {row['mode']} on {one_line(row['object'], 80)} ({row['outcome']})"
            )
        if row["depth"] == 0:
            console.print(f"It{waited}, held by:", style="bold")
            continue
        names = [part for part in (row["process"], row["application_name"]) if part]
        who = f"process {row['pid']}" + (f" ({one_line(', '.join(names), 60)})" if names else "")
        again = ", which waits in this chain itself" if row["is_cycle"] else ""
        held_by = ", held by:" if waited else ""
        console.print(f"{indent}└ {who}{again}{',' if waited else ''}{waited}{held_by}")
        for title, name in (("before", "did_before"), ("then", "did_then"), ("after", "did_after")):
            if row[name]:
                console.print(f"{indent}    {title}: {one_line(row[name])}", no_wrap=True, overflow="ellipsis")
        if not (row["did_before"] or row["did_then"] or row["did_after"]):
            console.print(f"{indent}    nothing that it did is logged")
    console.print()


def _print_events(console: Console, found: OneStatement) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if found.events.is_empty():
        console.print("No other event that is logged went on meanwhile.\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("went on meanwhile", ratio=1, min_width=24)
    for title in ("for s", "of its time"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("from")
    table.add_column("over the whole log")
    for row in found.events.head(_MOST_EVENTS).iter_rows(named=True):
        subject = f" ({one_line(row['subject'], 60)})" if row["subject"] else ""
        verdict = f"{row['log_verdict'] or 'not tested'} {times(row['log_slow_ratio'])}".strip()
        table.add_row(
            Text(f"{row['process']}: {row['kind']}{subject}"),
            seconds(row["overlap_s"]),
            share(row["overlap_pct"]),
            moment(row["started_at"], day=False),
            verdict,
        )
    console.print(table)
    if found.events.height > _MOST_EVENTS:
        console.print(f"and {count(found.events.height - _MOST_EVENTS, 'more event')}\n")
