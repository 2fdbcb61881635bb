"""One execution, found by how a person points at it: a line of a log, a process and a time, or a line of a session."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import duckdb

from pgtrace.errors import UsageError

FORMS = "write FILE:LINE (or SOURCE_ID:LINE), PID@TIME, or SESSION_ID/LINE"
_LINE = re.compile(r"(?P<source>.+):(?P<line>[0-9]+)")
_PID = re.compile(r"(?P<pid>[0-9]+)@(?P<time>.+)")
_SESSION = re.compile(r"(?P<session>[0-9a-f]+\.[0-9a-f]+)/(?P<line>[0-9]+)")

_COLUMNS = """
    statement.server, statement.source_id, statement.line_no, statement.pid, statement.session_id, statement.user_name,
    statement.database_name, statement.application_name, statement.client_host, statement.started_at,
    statement.logged_at, statement.duration_ms, statement.phase, statement.fingerprint
"""
#: the line may be any of the record's
_BY_LINE = f"""
select {_COLUMNS}
from statement
inner join source on statement.server = source.server and statement.source_id = source.source_id
inner join record
    on statement.server = record.server and statement.source_id = record.source_id
    and statement.line_no = record.line_no
where (starts_with(source.source_id, $source) or source.path = $source or ends_with(source.path, '/' || $source))
    and $line >= statement.line_no and $line < statement.line_no + record.line_count
    and ($server is null or statement.server = $server)
order by statement.server, statement.source_id
"""
#: nearest to the time, and no further than a second from its own
_BY_PID = f"""
select {_COLUMNS}
from statement
where pid = $pid and duration_ms is not null and ($server is null or server = $server)
    and started_at <= $time + interval 1 second and logged_at >= $time - interval 1 second
order by
    greatest(epoch_us(started_at) - epoch_us($time), epoch_us($time) - epoch_us(logged_at), 0),
    phase in ('parse', 'bind'),
    duration_ms desc, server, source_id, line_no
limit 1
"""
_BY_SESSION = f"""
select {_COLUMNS}
from statement
inner join record
    on statement.server = record.server and statement.source_id = record.source_id
    and statement.line_no = record.line_no
where record.session_id = $session and record.session_line_no = $line
    and ($server is null or statement.server = $server)
order by statement.server, statement.source_id
"""


def find_statement(
    connection: duckdb.DuckDBPyConnection, which: str, server: str | None, read_time: Any
) -> dict[str, Any]:
    """The row of table statement. Raises UsageError where none or several fit. ``read_time`` reads a time's text."""
    text = which.strip()
    parameters: dict[str, object] = {"server": server}
    if found := _SESSION.fullmatch(text):
        sql = _BY_SESSION
        parameters |= {"session": found["session"], "line": int(found["line"])}
    elif found := _PID.fullmatch(text):
        sql = _BY_PID
        time: datetime = read_time(found["time"])
        parameters |= {"pid": int(found["pid"]), "time": time}
    elif found := _LINE.fullmatch(text):
        sql = _BY_LINE
        parameters |= {"source": found["source"], "line": int(found["line"])}
    else:
        raise UsageError(f"'{which}' is no statement: {FORMS}")
    rows = connection.sql(sql, params=parameters).pl().to_dicts()
    if not rows:
        raise UsageError(f"no execution with a duration is logged at '{which}': {FORMS}")
    if len(rows) > 1:
        places = ", ".join(f"{row['source_id']}:{row['line_no']} of {row['server']}" for row in rows[:4])
        raise UsageError(f"'{which}' is {len(rows)} executions: {places}")
    return dict(rows[0])
