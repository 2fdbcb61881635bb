"""One slow episode: when it was, what was different in it, and what explains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import polars as pl

from pgtrace.analysis.differences import differences, query_differences
from pgtrace.analysis.explanations import explanations
from pgtrace.analysis.periods import Periods
from pgtrace.analysis.timeline import timeline

#: an episode is looked for this near, in what was logged so long before and after
NEAREST = timedelta(minutes=15)
SEARCHED = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Episode:
    """A slow episode. ``facts`` is its row of the named query ``episodes``; ``excess_s`` the seconds beyond the usual.

    ``explanations``: best first, one row per process (per kind for backends). ``differences``: amounts per second
    during, before and after. ``queries``: those that took more time than usual. ``timeline``: it in steps.
    """

    server: str
    started_at: datetime
    ended_at: datetime
    excess_s: float
    facts: dict[str, Any]
    explanations: pl.DataFrame
    differences: pl.DataFrame
    queries: pl.DataFrame
    timeline: pl.DataFrame


def nearest(episodes: pl.DataFrame, time: datetime) -> tuple[dict[str, Any] | None, timedelta]:
    """Of rows of the query ``episodes`` the one nearest to ``time``, and how far it is; of all queries if there is one.

    Of several that hold the time it is the one with the most excess.
    """
    best, best_key, distance = None, None, timedelta.max
    for row in episodes.iter_rows(named=True):
        away = max(row["started_at"] - time, time - row["ended_at"], timedelta(0))
        key = (away > NEAREST, row["query_text"] != "(all)" or row["fingerprint"] is not None, away, -row["excess_s"])
        if best_key is None or key < best_key:
            best, best_key, distance = row, key, away
    return best, distance


def describe(
    connection: duckdb.DuckDBPyConnection,
    facts: dict[str, Any],
    episodes: pl.DataFrame,
    log_rows: pl.DataFrame,
    on_step: Callable[[str], None] | None = None,
) -> Episode:
    """All about the episode ``facts`` of ``episodes``; ``log_rows`` is what goes together over the whole log."""
    tell = on_step or (lambda _: None)
    server, started_at, ended_at = facts["server"], facts["started_at"], facts["ended_at"]
    same = episodes.filter(pl.col("server") == server, pl.col("query_text") == facts["query_text"])
    first_us, last_us = connection.execute(
        "select min(epoch_us(started_at)), max(epoch_us(logged_at)) from statement where server = $server",
        {"server": server},
    ).fetchall()[0]
    zero = datetime.fromtimestamp(0, tz=started_at.tzinfo)
    first_at, last_at = (zero + timedelta(microseconds=at) for at in (first_us, last_us))
    periods = Periods.around(server, started_at, ended_at, same).clipped(first_at, last_at)
    texts = dict(
        connection.execute("select fingerprint, any_value(query_text) from query group by fingerprint").fetchall()
    )
    tell("what went on at the time")
    ranked, excess_s = explanations(connection, periods, log_rows, texts)
    tell("what was different")
    return Episode(
        server,
        started_at,
        ended_at,
        excess_s,
        facts,
        ranked,
        differences(connection, periods),
        query_differences(connection, periods),
        timeline(connection, periods),
    )
