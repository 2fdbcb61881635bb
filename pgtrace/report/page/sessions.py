"""Connections and pools."""

from __future__ import annotations

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask, condensed
from pgtrace.report.page.markup import Markup, paragraph
from pgtrace.report.page.section import Section, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table

_POOLS, _REFUSED, _MINUTES = 25, 25, 10


def sessions_section(lake: LakeHandle, span: Span) -> Section:
    """By application and host with the pool that would do, the busiest minutes, who was refused."""
    minutes = ask(lake, span, "connections_by_minute")
    content = together(
        _in_words(minutes) if minutes.height else None,
        part("By application and client host", _pools(lake, span), _POOL_NOTE),
        part("The minutes with most new connections", _busiest(minutes, span)) if minutes.height > 1 else None,
        part("Refused", _refused(lake, span)),
        part("PgBouncer", _pgbouncer(lake, span)),
    )
    nothing = "No connection was logged."
    return Section("sessions", "Connections and pools", "Connections", content, nothing, ("connection",))


_POOL_NOTE = (
    "The pool that would do is the most statements that ran at the same time: a lower bound where short ones are not "
    "logged, and where a pool keeps a connection for a whole transaction."
)


def _in_words(minutes: pl.DataFrame) -> Markup:
    came, ended = int(minutes["received"].sum()), int(minutes["ended"].sum())
    busiest = int(minutes["received"].max() or 0)  # type: ignore[arg-type]
    opened = int(minutes["open_sessions"].max() or 0)  # type: ignore[arg-type]
    ends = "" if ended else " Ends are not logged (log_disconnections), so how many were open is not known."
    return paragraph(
        f"{figures.plural(came, 'connection')} came in, at most {busiest:,} in a minute"
        + (f"; at most {opened:,} of these sessions were open at the end of a minute." if ended else ".")
        + ends
    )


def _pools(lake: LakeHandle, span: Span) -> Markup | None:
    sums = (
        "server, application_name, client_host, cast(sum(authorized) as bigint) as authorized, "
        "cast(sum(refused) as bigint) as refused, max(sessions_at_once) as sessions_at_once, "
        "max(authorized) as most_in_a_minute, "
        "sum(mean_session_s * ended) / nullif(sum(ended) filter (mean_session_s is not null), 0) as session_s, "
        "max(suggested_pool_size) as pool"
    )
    by = "server, application_name, client_host"
    rows = condensed(lake, span, "pool_by_minute", sums, by, f"authorized desc nulls last, {by}").head(_POOLS)
    if rows.is_empty():
        return None
    columns = [
        Column("application_name", "Application"),
        Column("client_host", "Client host"),
        Column("server", "Server"),
        Column("authorized", "Sessions", "count"),
        Column("most_in_a_minute", "Most in a minute", "count", "new sessions"),
        Column("session_s", "Mean length", "s"),
        Column("sessions_at_once", "Open at once", "count", "most sessions open at the same time"),
        Column("pool", "Pool that would do", "count", "most statements running at the same time"),
        Column("refused", "Refused", "count"),
    ]
    return table(rows, columns, span, "Connections by application and client host")


def _busiest(minutes: pl.DataFrame, span: Span) -> Markup:
    rows = minutes.sort("received", "minute", descending=[True, False]).head(_MINUTES)
    columns = [
        Column("minute", "Minute", "time"),
        Column("received", "Came in", "count"),
        Column("authorized", "Authorized", "count"),
        Column("ended", "Ended", "count"),
        Column("failed", "Failed", "count"),
        Column("open_sessions", "Open at its end", "count"),
    ]
    return table(rows, columns, span, "Minutes with most new connections")


def _refused(lake: LakeHandle, span: Span) -> Markup | None:
    rows = ask(lake, span, "refused_connections", top=_REFUSED)
    if rows.is_empty():
        return None
    columns = [
        Column("refusal", "Why"),
        Column("refused", "Times", "count"),
        Column("most_in_a_minute", "Most in a minute", "count"),
        Column("user_name", "Role"),
        Column("database_name", "Database"),
        Column("application_name", "Application"),
        Column("client_host", "Client host"),
        Column("last_at", "Last", "time"),
    ]
    return table(rows, columns, span, "Refused connections")


def _pgbouncer(lake: LakeHandle, span: Span) -> Markup | None:
    sums = (
        "server, cast(sum(logins) as bigint) as logins, cast(sum(refused) as bigint) as refused, "
        "cast(sum(query_wait_timeouts) as bigint) as timeouts, max(xacts_per_s) as xacts_per_s, "
        "avg(query_us) / 1000 as query_ms, max(most_wait_us) / 1000 as wait_ms"
    )
    rows = condensed(lake, span, "pgbouncer_by_minute", sums, "server", "server")
    if rows.is_empty():
        return None
    columns = [
        Column("server", "Pooler"),
        Column("logins", "Logins", "count"),
        Column("refused", "Refused", "count"),
        Column("timeouts", "Waited too long", "count"),
        Column("xacts_per_s", "Most transactions/s", "number"),
        Column("query_ms", "Mean query", "ms"),
        Column("wait_ms", "Longest mean wait", "ms", "for a server connection"),
    ]
    return table(rows, columns, span, "PgBouncer")
