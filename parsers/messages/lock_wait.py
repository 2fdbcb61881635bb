"""Waits for locks (log_lock_waits, deadlock_timeout, log_lock_failures; ProcSleep in proc.c, lock.c).

One row per message: a wait that ends writes ``waiting`` and then ``acquired``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import Column

if TYPE_CHECKING:
    import polars as pl

_OUTCOMES = {
    "still waiting for": "waiting",
    "acquired": "acquired",
    "detected deadlock while waiting for": "deadlock",
    "avoided deadlock for": "deadlock avoided",
    "failed to acquire": "failed",
    "could not obtain": "failed",  # 18, log_lock_failures
}
_OBJECT_TYPES = (
    "virtual transaction",
    "speculative token",
    "advisory lock",
    "user lock",
    "remote transaction",
    "relation",
    "extension",
    "page",
    "tuple",
    "transaction",
    "pg_database.datfrozenxid",
    "object",
    "unrecognized locktag type",
)


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    return {
        "outcome": pl.col("outcome").replace_strict(_OUTCOMES, default=None, return_dtype=pl.String),
        "waiting_since": pl.col("logged_at") - pl.duration(microseconds=pl.col("waited_ms") * 1000),
    }


MESSAGE = MessageType(
    table="lock_wait",
    one_row_per="message about a wait for a lock",
    process="backend",
    starts_with=("process ",),
    patterns=(
        rf"^process (?P<waiter_pid>\d+) (?P<outcome>{'|'.join(_OUTCOMES)}) (?P<mode>\w+) on (?P<object>.*?)"
        # the character stays here where stderr has no STATEMENT that it would be of
        r"(?: by rearranging queue order)?(?: after (?P<waited_ms>\d+\.\d+) ms)?(?: at character \d+)?$",
        rf" on (?P<object_type>{'|'.join(_OBJECT_TYPES)})",
        r" relation (?P<relation_oid>\d+) of database",
        r" of database (?P<database_oid>\d+)",
    ),
    detail_patterns=(
        # the comma is of version 18's "could not obtain"
        r"^Process(?:es)? holding the lock: (?P<holder_pids>[\d, ]*?)[.,] Wait queue: (?P<queue_pids>[\d, ]*)\.$",
    ),
    columns={
        "query_id": Column("query identifier (compute_query_id), 0 is none", int),
        "outcome": Column("waiting, acquired, deadlock, deadlock avoided, failed"),
        "waiter_pid": Column("process that waits", int),
        "mode": Column("lock mode, such as ShareLock"),
        "object": Column("what is locked, as printed"),
        "object_type": Column("relation, transaction, tuple, advisory lock …"),
        "relation_oid": Column("oid of the relation, where the object has one", int),
        "database_oid": Column("oid of the database that the object is in; 0 is shared by all", int),
        "waited_ms": Column("how long it has waited by then", float, "ms"),
        "waiting_since": Column("when the wait began: logged_at less waited_ms", datetime),
        "holder_pids": Column("processes that hold the lock", list[int], split=", "),
        "queue_pids": Column("processes in the queue, the waiter among them", list[int], split=", "),
        "context": Column("what the waiter was doing"),
        "statement": Column("the SQL that waits, as logged"),
        "fingerprint": Column("shape of that SQL (see table query)"),
    },
    derive=_derive,
)
