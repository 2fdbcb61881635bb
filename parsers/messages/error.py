"""Messages of level WARNING, ERROR, FATAL and PANIC of every process (elog.c), also those that another table reads."""

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


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    state = pl.col("sqlstate")
    return {
        "condition": state.replace_strict(conditions(), default=None, return_dtype=pl.String),
        "condition_class": state.str.slice(0, 2).replace_strict(classes(), default=None, return_dtype=pl.String),
    }


MESSAGE = MessageType(
    table="error",
    one_row_per="message of level WARNING or above",
    process="any",
    severities=("WARNING", "ERROR", "FATAL", "PANIC"),
    columns={
        **{name: RECORD.columns[name] for name in _FROM_RECORD},
        "condition": Column("name of the SQLSTATE, such as unique_violation; null where it is not said or not known"),
        "condition_class": Column("name of the SQLSTATE's class"),
        "fingerprint": Column("shape of the statement (see table query)"),
    },
    keeps=SESSION,
    derive=_derive,
)
