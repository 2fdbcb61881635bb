"""Tables and their columns: what each one holds, in which unit, and the types they have in Polars and DuckDB.

A type is written as the Python type that a row would hold (``str int float bool datetime Lsn list[str] list[int]``),
so that this module can be imported without Polars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pgtrace.units import Lsn

if TYPE_CHECKING:
    import polars as pl

DUCKDB_TYPES: dict[Any, str] = {
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    datetime: "TIMESTAMP WITH TIME ZONE",
    Lsn: "UBIGINT",
    list[str]: "VARCHAR[]",
    list[int]: "BIGINT[]",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its meaning, its type, and the separator that turns a matched text into a list."""

    meaning: str
    type: Any = str
    unit: str | None = None
    split: str | None = None

    @property
    def duckdb_type(self) -> str:
        """The type in a DuckDB view."""
        return DUCKDB_TYPES[self.type]

    @property
    def polars_type(self) -> pl.DataType:
        """The type in a Polars frame and in the file."""
        return polars_type(self.type)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the lake: what one row is, and its columns in order.

    ``view`` is SQL over ``{stored}``, the stored rows, where the table people see is not just those rows; it may also
    read the stored rows of the tables ``view_reads``, as ``{name}``.
    The column named by ``time`` decides the ``date=`` folder of a row.
    """

    name: str
    one_row_per: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    view: str | None = None
    view_reads: tuple[str, ...] = ()
    time: str = "logged_at"
    stored: Mapping[str, Column] | None = None

    @property
    def stored_columns(self) -> Mapping[str, Column]:
        """The columns of the Parquet files: those of the view unless the type says otherwise."""
        return self.columns if self.stored is None else self.stored


def polars_type(python_type: Any) -> pl.DataType:
    """The Polars type that stores ``python_type``."""
    return _polars_types()[python_type]


@cache
def _polars_types() -> dict[Any, pl.DataType]:
    import polars as pl

    return {
        str: pl.String(),
        int: pl.Int64(),
        float: pl.Float64(),
        bool: pl.Boolean(),
        datetime: pl.Datetime("us", "UTC"),
        Lsn: pl.UInt64(),
        list[str]: pl.List(pl.String()),
        list[int]: pl.List(pl.Int64()),
    }


def polars_schema(columns: Mapping[str, Column]) -> pl.Schema:
    """The Polars schema of ``columns``, in their order."""
    import polars as pl

    return pl.Schema({name: column.polars_type for name, column in columns.items()})


def fitted(frame: pl.DataFrame, columns: Mapping[str, Column]) -> pl.DataFrame:
    """``frame`` with exactly these columns, in their order and types; null where it has none of that name."""
    import polars as pl

    return frame.select(
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in polars_schema(columns).items()
    )


#: where a row came from; every table begins with these. ``server`` is the name given at ingest, a folder of the lake.
SERVER = {"server": Column("the server the log came from, as named at ingest")}
ORIGIN = {
    "source_id": Column("the file the record was read from (see table source)"),
    "line_no": Column("the line of that file on which the record begins", int),
}

#: who did it; copied from the record into every table of messages that a backend writes.
SESSION = {
    "logged_at": Column("when the message was written", datetime),
    "pid": Column("process id", int),
    "session_id": Column("session: start time and pid, both hexadecimal (%c)"),
    "user_name": Column("role"),
    "database_name": Column("database"),
    "application_name": Column("application_name of the session"),
    "client_host": Column("client address, or [local]"),
}
#: what is known of a process without a session.
PROCESS = {name: SESSION[name] for name in ("logged_at", "pid")}

#: columns, in whichever table, that may hold constants, parameter values or rows of the user's data; --redact leaves
#: them out. A table that has such a column under another name adds it here.
VALUE_COLUMNS = frozenset(
    {
        *("statement", "statements", "prepared_as", "internal_query", "parameters", "query_parameters"),
        *("detail", "hint", "context", "memory_contexts", "ident", "text"),
        # of plans: every expression may hold constants
        *("plan", "plan_text", "filter", "index_cond", "recheck_cond", "tid_cond", "join_filter", "hash_cond"),
        *("merge_cond", "one_time_filter", "conditions", "output", "sort_key", "presorted_key", "group_key"),
        *("cache_key", "order_by", "function_call", "table_function_call"),
    }
)

RECORD = Table(
    name="record",
    one_row_per="server message, whole",
    columns={
        **ORIGIN,
        "line_count": Column("lines of the file that the record takes", int),
        **SESSION,
        "client_port": Column("client port", int),
        "session_line_no": Column("number of the message within its session (%l)", int),
        "session_started_at": Column("when the process started (%s)", datetime),
        "backend_type": Column("kind of process (%b), from version 13"),
        "command_tag": Column("current command (%i)"),
        "vxid": Column("virtual transaction id (%v)"),
        "xid": Column("transaction id (%x); 0 is none", int),
        "leader_pid": Column("leader of the parallel group (%P), from version 14", int),
        "query_id": Column("query identifier (%Q, compute_query_id), from version 14", int),
        "severity": Column("LOG, ERROR, FATAL, PANIC, WARNING, NOTICE, INFO or DEBUG1-5"),
        "sqlstate": Column("SQLSTATE of the message (%e)"),
        "message": Column("the message"),
        "detail": Column("DETAIL"),
        "hint": Column("HINT"),
        "context": Column("CONTEXT"),
        "statement": Column("STATEMENT: the SQL that was running"),
        "cursor_position": Column("character of the statement that an error points at", int),
        "internal_query": Column("QUERY: SQL run by the server itself, as inside a function"),
        "internal_position": Column("character of the internal query that an error points at", int),
        "location": Column("LOCATION: function and source file (log_error_verbosity = verbose)"),
        "backtrace": Column("BACKTRACE (backtrace_functions), from version 13; stderr only"),
        "memory_contexts": Column("memory contexts that the process wrote before it, out of memory; stderr only"),
        "kind": Column("the table that read this message, null where none did"),
    },
)

UNPARSED = Table(
    name="unparsed",
    one_row_per="line that belongs to no record",
    columns={
        **ORIGIN,
        "text": Column("the line"),
        "reason": Column("why it was not read"),
        "near": Column("time of the record before it in the file", datetime),
    },
    time="near",
)

QUERY = Table(
    name="query",
    one_row_per="fingerprint: statements that differ only in constants",
    columns={
        **ORIGIN,
        "logged_at": Column("when a statement of this shape was first read", datetime),
        "fingerprint": Column("16 hexadecimal digits, from libpg_query"),
        "query_text": Column("the SQL with $n in place of constants"),
        "verb": Column("SELECT, INSERT, COPY, CREATE TABLE …, null where the SQL could not be parsed"),
        "relations_read": Column("relations it reads, as written in the SQL", list[str]),
        "relations_written": Column("relations it writes or changes, as written in the SQL", list[str]),
        "is_parsed": Column("whether PostgreSQL's grammar accepts the text (cut-off SQL does not)", bool),
    },
    # every run writes the shapes it meets, and several texts may have one shape; the least of them speaks for it
    view="select * replace (min(logged_at) over (partition by fingerprint) as logged_at) from {stored} "
    "qualify row_number() over (partition by fingerprint order by query_text, server, source_id, line_no) = 1",
)
