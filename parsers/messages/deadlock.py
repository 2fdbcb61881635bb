"""Deadlocks (deadlock_timeout; DeadLockReport in deadlock.c).

The server breaks a deadlock by an error in one of its processes, whose DETAIL names them all: first who waits for whom,
then what each one runs. A serialization failure (SQLSTATE 40001) is no deadlock; it is in table ``error`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import Column

if TYPE_CHECKING:
    import polars as pl

_EDGE = r"Process [0-9]+ waits for [^\n]*; blocked by process [0-9]+\."
_STATEMENT = "\nProcess {}: "
#: stands between statements; no text of the server holds it
_CUT = "\0"


def read(records: pl.DataFrame) -> pl.DataFrame:
    """One row per record; without DETAIL (log_error_verbosity = terse) the lists are null."""
    import polars as pl

    rows = records.filter(pl.col("message").str.contains(r"^deadlock detected(?: at character [0-9]+)?$"))
    # the edges come first and together: SQL further down may read like one
    waits = pl.col("detail").str.extract(rf"^({_EDGE}(?:\n{_EDGE})*)", 1)
    edges = waits.str.split("\n")
    rows = rows.with_columns(
        waits.alias("waits"),
        _of_each(edges, r"^Process ([0-9]+) ").cast(pl.List(pl.Int64)).alias("waiter_pids"),
        _of_each(edges, r"by process ([0-9]+)\.$").cast(pl.List(pl.Int64)).alias("blocker_pids"),
        _of_each(edges, r" waits for (\w+) on ").alias("modes"),
        _of_each(edges, r" waits for \w+ on (.*); blocked").alias("objects"),
        _of_each(edges, r" relation ([0-9]+) of database").cast(pl.List(pl.Int64)).alias("relation_oids"),
        pl.col("pid").alias("victim_pid"),
    )
    return _with_statements(rows)


def _of_each(edges: pl.Expr, pattern: str) -> pl.Expr:
    """The group of ``pattern`` in every edge, null where it has none."""
    import polars as pl

    return edges.list.eval(pl.element().str.extract(pattern, 1))


def _with_statements(rows: pl.DataFrame) -> pl.DataFrame:
    """Cut the SQL of every process out of DETAIL, in the order of the edges.

    A statement ends where that of the next waiter begins: no other line ``Process n:`` in it is taken for one.
    """
    import polars as pl

    rest = pl.lit("\n") + pl.col("detail").str.slice(pl.col("waits").str.len_chars() + 1)
    rows = rows.with_columns(pl.lit("").alias("texts"), rest.alias("rest"))
    pids: list[pl.Expr] = []
    most = rows["waiter_pids"].list.len().max()
    for number in range(most if isinstance(most, int) else 0):
        waiter = pl.col("waiter_pids").list.get(number, null_on_oob=True)
        cut = pl.col("rest").str.splitn(pl.format(_STATEMENT, waiter), 2).struct
        is_found = cut[1].is_not_null()
        rows = rows.with_columns(
            pl.when(is_found).then(waiter).alias(f"pid_{number}"),
            pl.when(is_found).then(pl.col("texts") + cut[0] + pl.lit(_CUT)).otherwise("texts").alias("texts"),
            pl.when(is_found).then(cut[1]).otherwise("rest").alias("rest"),
        )
        pids.append(pl.col(f"pid_{number}"))
    if not pids:
        return rows
    texts = (pl.col("texts") + pl.col("rest")).str.split(_CUT).list.slice(1)
    return rows.with_columns(
        pl.when(pl.col("waits").is_not_null()).then(pl.concat_list(pids).list.drop_nulls()).alias("statement_pids"),
        texts.alias("statements"),
    )


MESSAGE = MessageType(
    table="deadlock",
    one_row_per="deadlock",
    process="backend",
    starts_with=("deadlock detected",),
    severities=("ERROR", "FATAL"),
    columns={
        "query_id": Column("query identifier (compute_query_id), 0 is none", int),
        "victim_pid": Column("process whose transaction was rolled back: the one that wrote the message", int),
        "waiter_pids": Column("processes of the deadlock; the lists below are in this order", list[int]),
        "modes": Column("lock mode that each one waits for", list[str]),
        "objects": Column("what each one waits for, as printed", list[str]),
        "relation_oids": Column("oid of the relation that it is or is in, null where the object has none", list[int]),
        "blocker_pids": Column("process that blocks each one", list[int]),
        "statement_pids": Column("processes whose SQL the server printed", list[int]),
        "statements": Column("what these ran, cut at track_activity_query_size", list[str]),
        "context": Column("what the victim was doing"),
        "statement": Column("the victim's SQL, as logged"),
        "fingerprint": Column("shape of that SQL (see table query)"),
    },
    read_with=read,
)
