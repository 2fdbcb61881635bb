"""The queries that took the most time, each with its line over the span, and the longest single executions."""

from __future__ import annotations

from typing import Any

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup, text
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.spark import sparkline
from pgtrace.report.page.table import Column, table
from pgtrace.report.page.timeline import trends

_TOP, _TREND_STEPS, _SINGLE, _BY = 30, 60, 20, 15
#: steps with executions that make a line
_FEWEST = 3


def queries_section(lake: LakeHandle, span: Span) -> Section:
    """By total time; where it goes by application; the longest executions."""
    rows = ask(lake, span, "slow_queries", top=_TOP)
    content = None
    if rows.height:
        lines = trends(lake, span, _TOP, _TREND_STEPS)
        columns = [
            Column("query_text", "Query", "sql"),
            Column("total_pct", "Of all time", "pct"),
            Column("total_ms", "Total", "ms"),
            Column("calls", "Executions", "count"),
            Column("mean_ms", "Mean", "ms"),
            Column("p50_ms", "p50", "ms"),
            Column("p95_ms", "p95", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("max_ms", "Longest", "ms"),
            Column("trend", "p95 over time", render=lambda row: _trend(lines.get(row["fingerprint"], []), row)),
        ]
        content = together(
            table(rows, columns, span, "Queries by total time"),
            part("By application", _by(lake, span, "application_name", "Application")),
            part("By client host", _by(lake, span, "client_host", "Client host")),
            part("Longest executions", _single(lake, span)),
        )
    title = f"The {_TOP} queries that took the most time" if rows.height == _TOP else "Queries by total time"
    return Section("queries", title, "Queries", content, "No executions were logged.", ("statement",))


def _trend(values: list[float | None], row: dict[str, Any]) -> Markup:
    known = [value for value in values if value is not None]
    if len(known) < _FEWEST:
        return text("")
    largest, smallest = figures.milliseconds(max(known)), figures.milliseconds(min(known))
    return sparkline(values, f"95th percentile between {smallest} and {largest}, {row['calls']:,} executions")


def _by(lake: LakeHandle, span: Span, by: str, heading: str) -> Markup | None:
    rows = ask(lake, span, "statements_by", by=by, top=_BY)
    if rows.drop_nulls("value").height < 2:  # one application, or the log does not say which: nothing to compare
        return None
    columns = [
        Column("value", heading),
        Column("calls", "Executions", "count"),
        Column("queries", "Queries", "count"),
        Column("total_ms", "Total", "ms"),
        Column("total_pct", "Of all time", "pct"),
        Column("mean_ms", "Mean", "ms"),
        Column("p95_ms", "p95", "ms"),
        Column("max_ms", "Longest", "ms"),
    ]
    return table(rows, columns, span, f"Executions by {heading.lower()}")


def _single(lake: LakeHandle, span: Span) -> Markup:
    columns = [
        Column("started_at", "Started", "time"),
        Column("duration_ms", "Took", "ms"),
        Column("statement", "Query", "sql"),
        Column("database_name", "Database"),
        Column("user_name", "Role"),
        Column("application_name", "Application"),
        Column("pid", "Process", "text"),
    ]
    return table(ask(lake, span, "slow_statements", top=_SINGLE), columns, span, "Longest executions")
