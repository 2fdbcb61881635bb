"""Checkpoints and vacuum."""

from __future__ import annotations

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask, condensed
from pgtrace.report.page.markup import Markup, paragraph
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table

_CHECKPOINTS, _QUERIES, _TABLES, _EVENTS = 40, 15, 40, 30


def checkpoints_section(lake: LakeHandle, span: Span) -> Section:
    """By reason, the longest ones, and how queries fared meanwhile."""
    sums = (
        "server, process_kind, reasons, count(*) as checkpoints, cast(sum(buffers_written) as bigint) as buffers, "
        "sum(write_s) as write_s, sum(sync_s) as sync_s, max(longest_sync_s) as longest_sync_s, "
        "max(total_s) as longest_s, max(buffers_pct) as most_pct, avg(distance_kb) * 1024 as distance_bytes"
    )
    by = "server, process_kind, reasons"
    reasons = condensed(lake, span, "checkpoints", sums, by, f"checkpoints desc, {by}")
    content = None
    if reasons.height:
        columns = [
            Column("server", "Server"),
            Column("process_kind", "Kind"),
            Column("reasons", "Because of"),
            Column("checkpoints", "Number", "count"),
            Column("buffers", "Buffers written", "count"),
            Column("most_pct", "Most of shared_buffers", "pct"),
            Column("write_s", "Writing", "s", "time spent writing, in all"),
            Column("sync_s", "Syncing", "s", "time spent in fsync, in all"),
            Column("longest_sync_s", "Longest sync", "s"),
            Column("longest_s", "Longest", "s"),
            Column("distance_bytes", "WAL between", "size", "mean WAL since the checkpoint before"),
        ]
        content = together(
            _requested(reasons),
            table(reasons, columns, span, "Checkpoints by reason"),
            part("The longest", _longest(lake, span)),
            part("Queries while a checkpoint was under way", _meanwhile(lake, span), _MEANWHILE),
        )
    nothing = "No checkpoint was logged."
    return Section("checkpoints", "Checkpoints", "Checkpoints", content, nothing, ("checkpoint",))


_MEANWHILE = (
    "By when an execution started. A plain comparison: load may differ as well, and the cost of a checkpoint goes on "
    "after it (full page images); the causes above take account of that."
)


def _requested(reasons: pl.DataFrame) -> Markup:
    """Checkpoints that did not wait for checkpoint_timeout, in words."""
    all_of_them = int(reasons["checkpoints"].sum())
    by_wal = int(reasons.filter(pl.col("reasons").str.contains(r"\bwal\b|\bxlog\b"))["checkpoints"].sum())
    words = f"{figures.plural(all_of_them, 'checkpoint')}, of these {by_wal:,} because WAL had reached max_wal_size"
    return paragraph(words + (", which a larger max_wal_size makes rarer." if by_wal > all_of_them / 3 else "."))


def _longest(lake: LakeHandle, span: Span) -> Markup:
    rows = ask(lake, span, "checkpoints").sort("total_s", "started_at", descending=[True, False], nulls_last=True)
    columns = [
        Column("started_at", "Started", "time"),
        Column("server", "Server"),
        Column("reasons", "Because of"),
        Column("total_s", "Took", "s"),
        Column("write_s", "Writing", "s"),
        Column("sync_s", "Syncing", "s"),
        Column("longest_sync_s", "Longest sync", "s"),
        Column("buffers_written", "Buffers", "count"),
        Column("buffers_pct", "Of shared_buffers", "pct"),
        Column("wal_added", "WAL added", "count"),
        Column("wal_removed", "WAL removed", "count"),
        Column("wal_recycled", "WAL recycled", "count"),
    ]
    return table(rows.head(_CHECKPOINTS), columns, span, "Longest checkpoints")


def _meanwhile(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "checkpoint_latency").filter(pl.col("calls_inside") > 0).head(_QUERIES)
    if rows.is_empty():
        return None
    columns = [
        Column("query_text", "Query", "sql"),
        Column("calls_inside", "Inside", "count", "executions that started while a checkpoint was under way"),
        Column("calls_outside", "Outside", "count"),
        Column("p50_inside", "p50 inside", "ms"),
        Column("p50_outside", "p50 outside", "ms"),
        Column("p95_inside", "p95 inside", "ms"),
        Column("p95_outside", "p95 outside", "ms"),
        Column("p95_ratio", "p95 ratio", "times"),
    ]
    return table(rows, columns, span, "Queries while a checkpoint was under way")


def vacuum_section(lake: LakeHandle, span: Span) -> Section:
    """By table, and what autovacuum could not do."""
    tables = ask(lake, span, "vacuum_by_table", top=_TABLES)
    columns = [
        Column("relation", "Table"),
        Column("server", "Server"),
        Column("vacuums", "Vacuums", "count"),
        Column("analyzes", "Analyzes", "count"),
        Column("elapsed_s", "Time", "s"),
        Column("longest_s", "Longest", "s"),
        Column("tuples_removed", "Dead rows removed", "count"),
        Column("not_removable", "Left", "count", "dead rows that the last vacuum had to leave"),
        Column("most_index_scans", "Index passes", "count", "most passes over the indexes in one run; one is usual"),
        Column("buffer_reads", "Buffers read", "count"),
        Column("buffer_dirtied", "Buffers dirtied", "count"),
        Column("wal_bytes", "WAL", "size"),
        Column("cpu_s", "CPU", "s"),
    ]
    runs = table(tables, columns, span, "Autovacuum by table") if tables.height else None
    content = together(runs, part("What autovacuum could not do", _could_not(lake, span)))
    nothing = "No run of autovacuum was logged."
    return Section("vacuum", "Vacuum by table", "Vacuum", content, nothing, ("autovacuum", "autoanalyze"))


def _could_not(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "vacuum_events").head(_EVENTS)
    if rows.is_empty():
        return None
    columns = [
        Column("event", "What"),
        Column("relation", "Table"),
        Column("database_name", "Database"),
        Column("messages", "Messages", "count"),
        Column("least_left", "Ids left", "count", "fewest transaction ids left before commands are refused"),
        Column("reasons", "Why", "list"),
        Column("first_at", "First", "time"),
        Column("last_at", "Last", "time"),
    ]
    return table(rows, columns, span, "What autovacuum could not do")
