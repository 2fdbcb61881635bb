"""Temporary files with the work_mem that would have done without, and locks with who held them."""

from __future__ import annotations

from typing import Any

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup, tag, text
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table, word

_QUERIES, _TREES, _TREE_ROWS, _DEADLOCKS = 30, 12, 80, 30


def temp_section(lake: LakeHandle, span: Span) -> Section:
    """By query: what went to disk, and the work_mem that would have kept it in memory."""
    rows = ask(lake, span, "work_mem_needed", top=_QUERIES)
    columns = [
        Column("query_text", "Query", "sql"),
        Column("suggested_work_mem_mb", "work_mem for all", "mb", "would have kept every execution in memory"),
        Column("p95_work_mem_mb", "for 95 %", "mb", "would have kept 95 % of the executions in memory"),
        Column("spilled", "Spilled", "count", "executions that went to disk"),
        Column("executions", "of", "count", "logged executions"),
        Column("files", "Files", "count"),
        Column("p50_bytes", "p50 on disk", "size"),
        Column("p95_bytes", "p95", "size"),
        Column("max_bytes", "Largest", "size"),
    ]
    note = (
        "An estimate: data takes more room in memory than on disk. Set it for the query or the role "
        "that needs it (set local, alter role … set), since every sort and hash of every session may take that much."
    )
    content = None
    if rows.height:
        content = together(tag("p", text(note)), table(rows, columns, span, "Temporary files by query"))
    nothing = "No temporary file was logged."
    return Section("temp", "Temporary files and work_mem", "Temp files", content, nothing, ("temp_file",))


def locks_section(lake: LakeHandle, span: Span) -> Section:
    """Who blocked whom, as trees, and deadlocks."""
    found = ask(lake, span, "blockers", top=_TREES)
    trees = _trees(found, span) if found.height else None
    content = together(
        part("Who blocked whom", trees, "The process at the root first, then who waited for it, indented.")
        if trees
        else None,
        part("Deadlocks", _deadlocks(lake, span)),
    )
    nothing = "No wait for a lock was logged; waits are, once they last deadlock_timeout."
    return Section("locks", "Locks", "Locks", content, nothing, ("lock_wait",))


def _trees(rows: pl.DataFrame, span: Span) -> Markup:
    columns = [
        Column("began_at", "Began", "time"),
        Column("pid", "Process", render=_process),
        Column("query_text", "Query", "sql", "of the root: what it was running, or had run last"),
        Column("query_basis", "Known how", "text"),
        Column("waited_ms", "Waited", "ms"),
        Column("subtree_ms", "With those behind", "ms", "the same with all who waited behind it"),
        Column("mode", "Lock"),
        Column("object", "On"),
        Column("outcome", "Outcome"),
        Column("application_name", "Application"),
    ]
    return table(rows.head(_TREE_ROWS), columns, span, "Who blocked whom")


def _process(row: dict[str, Any]) -> Markup:
    depth = min(row["depth"] or 0, 4)
    name = f"process {row['pid']}" if row["pid"] is not None else "not named"
    role = (
        "blocks"
        if not row["depth"]
        else "ahead in queue for"
        if row["blocked_how"] == "ahead in the queue"
        else "waits"
    )
    label = name if row["depth"] == 0 else f"↳ {name}"
    parts = [
        word(label),
        tag("span", text(f" {role}" if role != "ahead in queue for" else " waits in the queue"), class_="null"),
    ]
    return tag("div", parts, class_=f"tree d{depth}")


def _deadlocks(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "deadlocks").head(_DEADLOCKS)
    if rows.is_empty():
        return None
    columns = [
        Column("logged_at", "When", "time"),
        Column("victim_pid", "Cancelled", "text"),
        Column("waiter_pid", "Waiter", "text"),
        Column("blocker_pid", "Blocked by", "text"),
        Column("mode", "Lock"),
        Column("object", "On"),
        Column("waiter_query", "Query of the waiter", "sql"),
        Column("victim_application", "Application"),
    ]
    return table(rows, columns, span, "Deadlocks")
