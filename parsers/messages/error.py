"""Messages of level WARNING, ERROR, FATAL and PANIC of every process (elog.c), also those that another table reads.

Limitations: in rare messages a name with a quote and a blank in it (``we" ird``) ends at the quote; those of missing
relations and violated constraints are read whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import RECORD, SESSION, Column
from pgtrace.sqlstate import classes, conditions

if TYPE_CHECKING:
    import polars as pl

_FROM_RECORD = (
    "query_id",
    "backend_type",
    "severity",
    "sqlstate",
    "message",
    "detail",
    "hint",
    "context",
    "internal_query",
    "statement",
    "cursor_position",
)


#: whole messages
_CANCELLED_BY = {
    "canceling statement due to statement timeout": "statement timeout",
    "canceling statement due to lock timeout": "lock timeout",
    "canceling statement due to user request": "user request",
    # the wait alone: the transaction is committed, here and perhaps not there
    "canceling wait for synchronous replication due to user request": "user request",
    "canceling statement due to conflict with recovery": "recovery conflict",
    "terminating connection due to conflict with recovery": "recovery conflict",
    # by whoever waits for the lock on its table; pg_cancel_backend() reads the same
    "canceling autovacuum task": "lock conflict",
    "canceling authentication due to timeout": "authentication timeout",
    "terminating connection due to idle-in-transaction timeout": "idle in transaction timeout",
    "terminating connection due to idle-session timeout": "idle session timeout",  # 14
    "terminating connection due to transaction timeout": "transaction timeout",  # 17
    "terminating walreceiver due to timeout": "replication timeout",
    "terminating logical replication worker due to timeout": "replication timeout",
    "terminating connection due to unexpected postmaster exit": "postmaster exit",
    "terminating connection due to immediate shutdown command": "immediate shutdown",
    "terminating connection because of crash of another server process": "crash of another process",
    "terminating connection because of unexpected SIGQUIT signal": "unexpected SIGQUIT",
    "terminating connection because protocol synchronization was lost": "protocol",
    "connection to client lost": "connection lost",
}
#: a leader that needs no more rows stops its workers in the administrator's words
_PARALLEL_WORKER = 'terminating background worker "parallel worker for PID '
#: whatever is ended: connection, autovacuum process, walreceiver process, background worker "…"
_BY_ADMINISTRATOR = " due to administrator command"

#: where a message has two quotes, the name is between them
_PLAIN_CONSTRAINT = r'constraint "([^"]*)"'
_PLAIN_RELATION = r'(?:relation|table|view|sequence) "([^"]*)"'
#: else a name may hold quotes: what is behind it tells where it ends
_CONSTRAINTS = (
    r'(?s)constraint "(.*?)"(?:$| (?:on|of|for) (?:table|relation|domain) | already exists| does not exist| cannot )',
)
_KIND = "(?:relation|table|view|materialized view|foreign table|sequence)"
_RELATIONS = (
    # of a key that another table refers to: the table that has the constraint, as the server's own field table_name
    r'(?s) constraint ".*" on table "(.*)"$',
    rf'(?s)^{_KIND} "(.*)" (?:does not exist|already exists)',
    r'(?s)^(?:insert or update on table|new row for relation) "(.*)" violates ',
    r'(?s)(?:^|[a-z] )(?:relation|table) "(.*?)"(?:$|[ :,;])',
    # without quotes
    rf"(?s)^(?:permission denied for|must be owner of) {_KIND} (.*)$",
    rf"(?s)^cannot drop {_KIND} (.*) because other objects depend on it$",
)
#: what every message that one of them reads has in it
_RELATION_HINT = r'(?:relation|table|view|sequence) "|^permission denied for |^must be owner of |^cannot drop '
#: where a context says it: a tuple that was waited for, COPY, the table of an autovacuum worker
_CONTEXTS = (
    r'(?m)tuple \([0-9]+,[0-9]+\) in relation "(.*)"$',
    r"(?m)^COPY (.*?), line [0-9]",
    r'(?m)^automatic (?:vacuum|analyze) of table "[^.]*\.(.*)"$',
)
_CONTEXT_HINT = r"tuple \(|COPY |automatic "


def _read(records: pl.DataFrame) -> pl.DataFrame:
    """The records, with what their messages name; read once of each distinct message: a log repeats few of them."""
    messages = records.select("message").unique()
    messages = messages.with_columns(
        _cancelled_by().alias("cancelled_by"),
        _named(_PLAIN_CONSTRAINT, _CONSTRAINTS, _having('constraint "', "message")).alias("constraint_name"),
        _relation_name().alias("relation_name"),
    )
    return records.join(messages, on="message", how="left", maintain_order="left")


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    state = pl.col("sqlstate")
    context = _having(_CONTEXT_HINT, "context")
    return {
        "condition": state.replace_strict(conditions(), default=None, return_dtype=pl.String),
        "condition_class": state.str.slice(0, 2).replace_strict(classes(), default=None, return_dtype=pl.String),
        "relation_name": pl.coalesce("relation_name", *map(context.str.extract, _CONTEXTS)),
    }


def _having(hint: str, column: str) -> pl.Expr:
    """The texts that have what a name needs, null for others: finding that out is cheap, reading the name is not."""
    import polars as pl

    return pl.when(pl.col(column).str.contains(hint)).then(column)


def _named(plain: str, patterns: tuple[str, ...], text: pl.Expr) -> pl.Expr:
    import polars as pl

    is_plain = text.str.count_matches('"', literal=True) == 2
    rest = pl.when(~is_plain).then(text)
    return pl.coalesce(pl.when(is_plain).then(text).str.extract(plain), *map(rest.str.extract, patterns))


def _cancelled_by() -> pl.Expr:
    import polars as pl

    message = pl.col("message")
    is_end = message.str.starts_with("canceling ") | message.str.starts_with("terminating ")
    ended = pl.when(is_end | (message == "connection to client lost")).then(message)
    return (
        pl.when(ended.str.starts_with(_PARALLEL_WORKER))
        .then(pl.lit("parallel leader"))
        .when(ended.str.ends_with(_BY_ADMINISTRATOR))
        .then(pl.lit("administrator command"))
        .otherwise(ended.replace_strict(_CANCELLED_BY, default=None, return_dtype=pl.String))
    )


def _relation_name() -> pl.Expr:
    import polars as pl

    said = _having(_RELATION_HINT, "message")
    # that is an alias, not a relation
    said = pl.when(~said.str.contains("FROM-clause entry", literal=True)).then(said)
    return _named(_PLAIN_RELATION, _RELATIONS, said)


MESSAGE = MessageType(
    table="error",
    one_row_per="message of level WARNING or above",
    process="any",
    severities=("WARNING", "ERROR", "FATAL", "PANIC"),
    columns={
        **{name: RECORD.columns[name] for name in _FROM_RECORD},
        "condition": Column("name of the SQLSTATE, such as unique_violation; null where it is not said or not known"),
        "condition_class": Column("name of the SQLSTATE's class"),
        "cancelled_by": Column(
            "why the statement, session or process was cancelled: "
            f"{', '.join(dict.fromkeys([*_CANCELLED_BY.values(), 'administrator command', 'parallel leader']))}; "
            "null: it failed otherwise"
        ),
        "constraint_name": Column("constraint that the message names"),
        "relation_name": Column("relation that message or context names, as printed: with its schema or without"),
        "fingerprint": Column("shape of the statement (see table query)"),
    },
    keeps=SESSION,
    read_with=_read,
    derive=_derive,
)
