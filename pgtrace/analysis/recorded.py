"""Waits for locks: no statistics needed, the server itself wrote down who waited, for how long, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb


@dataclass(frozen=True, slots=True)
class Waits:
    """All waits of a server (``fingerprint`` None), or those of one query."""

    fingerprint: str | None
    waits: int
    waited_s: float
    longest_s: float
    mode: str | None
    object: str | None
    holder_pid: int | None
    began: list[datetime]


def lock_waits(
    connection: duckdb.DuckDBPyConnection, server: str, since: datetime | None, until: datetime | None
) -> list[Waits]:
    """Waits by query, the one for all queries first; empty where none was logged (log_lock_waits)."""
    rows = connection.execute(
        """
        select fingerprint, count(*), round(fsum(waited_ms), 3) / 1000, max(waited_ms) / 1000,
            first(mode order by waited_ms desc, waiting_since, object),
            first(object order by waited_ms desc, waiting_since, object),
            mode(holder_pids[1] order by holder_pids[1]),
            list(epoch_us(waiting_since) order by waited_ms desc, waiting_since)[1:3]
        from whole_lock_wait
        where server = $server and waited_ms is not null
            and ($since is null or heard_at >= $since) and ($until is null or waiting_since < $until)
        group by grouping sets ((), (fingerprint))
        having count(*) > 0
        order by grouping(fingerprint) desc, 3 desc, 1
        """,
        {"server": server, "since": since, "until": until},
    ).fetchall()
    found = []
    for number, (fingerprint, waits, waited_s, longest_s, mode, item, holder, began) in enumerate(rows):
        times = [datetime.fromtimestamp(at / 1e6, tz=UTC) for at in began]
        shape = None if number == 0 else fingerprint or ""
        found.append(Waits(shape, waits, waited_s, longest_s, mode, item, holder, times))
    return found
