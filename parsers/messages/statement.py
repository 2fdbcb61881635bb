"""Statements with a duration (log_duration, log_min_duration_statement, log_statement, auto_explain)."""

from __future__ import annotations

from datetime import datetime

from pgtrace.message import MessageType
from pgtrace.schema import SESSION, Column

MESSAGE = MessageType(
    table="statement",
    one_row_per="execution with a duration",
    process="backend",
    starts_with=("duration: ",),
    columns={
        "query_id": Column("query identifier (compute_query_id), 0 is none", int),
        "started_at": Column("when it started: logged_at less the duration", datetime),
        "duration_ms": Column("how long it took", float, "ms"),
        "phase": Column("statement, parse, bind, execute, fetch, fastpath; none: a bare duration line"),
        "logged_by": Column("duration: its own line; plan: auto_explain alone"),
        "statement": Column("the SQL as logged, null for a bare duration whose statement was not logged"),
        "fingerprint": Column("shape of the SQL (see table query)"),
        "statement_name": Column("prepared statement, null where unnamed"),
        "portal_name": Column("portal, null where unnamed"),
        "parameters": Column("parameter values as logged"),
    },
    keeps=SESSION,
)
