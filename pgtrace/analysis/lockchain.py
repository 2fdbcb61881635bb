"""Who a process waited for, who that one waited for in turn, and what each was doing.

The server says who held a lock, not what for. What a holder was doing is known as far as it was logged: the execution
that was running when the wait began, the last one before, and the next one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb
import polars as pl

#: a chain longer than this is cut; a process that is above itself in the chain is named once more and not followed
_DEEPEST, _MOST = 8, 50

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "depth": pl.Int64,
    "pid": pl.Int64,
    "process": pl.String,
    "application_name": pl.String,
    "waiting_since": pl.Datetime("us", "UTC"),
    "waited_ms": pl.Float64,
    "mode": pl.String,
    "object": pl.String,
    "outcome": pl.String,
    "query_text": pl.String,
    "is_cycle": pl.Boolean,
    "did_before": pl.String,
    "did_then": pl.String,
    "did_after": pl.String,
}

_WAITS = """
select mode, object, waiting_since, heard_at, waited_ms, outcome, application_name, fingerprint, holder_pids
from whole_lock_wait
where server = $server and waiter_pid = $pid and waiting_since < $until and heard_at > $since
order by waiting_since, object
"""
_DOINGS = """
with
done as (
    select started_at, logged_at, fingerprint, application_name
    from statement
    where server = $server and pid = $pid and fingerprint is not null and phase not in ('parse', 'bind')
        and started_at between $time - interval 1 day and $time + interval 1 day
    union all
    select logged_at, logged_at, fingerprint, application_name
    from error
    where server = $server and pid = $pid and fingerprint is not null
        and logged_at between $time - interval 1 day and $time + interval 1 day
)
select
    arg_max(fingerprint, started_at) filter (logged_at < $time) as before,
    arg_max(fingerprint, started_at) filter (started_at <= $time and logged_at >= $time) as running,
    arg_min(fingerprint, started_at) filter (started_at > $time) as after,
    arg_min(application_name, abs(epoch_us(started_at) - epoch_us($time))) as application_name
from done
"""
#: what a process calls itself when it next writes
_PROCESS = """
select backend_type
from record
where server = $server and pid = $pid and backend_type is not null and logged_at >= $time
order by logged_at, line_no
limit 1
"""


def lock_chain(
    connection: duckdb.DuckDBPyConnection,
    server: str,
    pid: int,
    since: datetime,
    until: datetime,
    texts: dict[str, str],
) -> pl.DataFrame:
    """The waits of a process within a span, each with its holders below it, depth first; depth 0 is the process."""
    rows: list[dict[str, Any]] = []
    _follow(connection, server, pid, since, until, texts, rows, (), None)
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows[:_MOST]], SCHEMA, orient="row")


def _follow(
    connection: duckdb.DuckDBPyConnection,
    server: str,
    pid: int,
    since: datetime,
    until: datetime,
    texts: dict[str, str],
    rows: list[dict[str, Any]],
    above: tuple[int, ...],
    held_from: datetime | None,
) -> None:
    """Add the process, a row per wait of it in the span, and its holders. ``held_from``: when it was waited for."""
    if len(rows) >= _MOST:
        return
    own: dict[str, Any] = {"depth": len(above), "pid": pid, "is_cycle": pid in above}
    if held_from is not None:
        own |= _doings(connection, server, pid, held_from, texts)
    waits = []
    if not own["is_cycle"] and len(above) < _DEEPEST:
        bounds = {"server": server, "pid": pid, "since": since, "until": until}
        waits = connection.sql(_WAITS, params=bounds).pl().to_dicts()
    if not waits and above:
        rows.append(own)
    for wait in waits:
        text = texts.get(wait["fingerprint"]) if wait["fingerprint"] else None
        names = ("mode", "object", "waiting_since", "waited_ms", "outcome")
        application = wait["application_name"] or own.get("application_name")
        rows.append(
            {**own, **{name: wait[name] for name in names}, "query_text": text, "application_name": application}
        )
        for holder in wait["holder_pids"] or []:
            # what the holder waited for itself matters while it was waited for
            span = max(since, wait["waiting_since"]), min(until, wait["heard_at"])
            _follow(connection, server, holder, *span, texts, rows, (*above, pid), wait["waiting_since"])


def _doings(
    connection: duckdb.DuckDBPyConnection, server: str, pid: int, time: datetime, texts: dict[str, str]
) -> dict[str, Any]:
    bounds = {"server": server, "pid": pid, "time": time}
    [found] = connection.sql(_DOINGS, params=bounds).pl().to_dicts()
    process = connection.sql(_PROCESS, params=bounds).pl()["backend_type"].to_list()
    return {
        "process": process[0] if process else None,
        "application_name": found["application_name"],
        "did_before": texts.get(found["before"] or ""),
        "did_then": texts.get(found["running"] or ""),
        "did_after": texts.get(found["after"] or ""),
    }
