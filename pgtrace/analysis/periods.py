"""A slow episode and the time around it: during, before and after, to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import polars as pl

#: what is compared with is as long as the episode, and at least this, on either side
_SHORTEST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Periods:
    """Of one server: the episode, and the time before and after it in which no other episode was."""

    server: str
    started_at: datetime
    ended_at: datetime
    before_from: datetime
    after_to: datetime

    @classmethod
    def around(cls, server: str, started_at: datetime, ended_at: datetime, others: pl.DataFrame) -> Periods:
        """``others``: the episodes of the server, with started_at and ended_at; the one itself may be among them."""
        reach = max(ended_at - started_at, _SHORTEST)
        earlier = others.filter(pl.col("ended_at") <= started_at)["ended_at"].to_list()
        later = others.filter(pl.col("started_at") >= ended_at)["started_at"].to_list()
        before = max([started_at - reach, *earlier])
        after = min([ended_at + reach, *later])
        # between episodes that follow at once nothing is quiet: then what is there is compared with
        return cls(
            server,
            started_at,
            ended_at,
            before if before < started_at else started_at - reach,
            after if after > ended_at else ended_at + reach,
        )

    @property
    def seconds(self) -> float:
        """How long the episode is."""
        return (self.ended_at - self.started_at).total_seconds()

    def clipped(self, first_at: datetime, last_at: datetime) -> Periods:
        """Not beyond the log."""
        before, after = max(self.before_from, first_at), min(self.after_to, last_at)
        return Periods(
            self.server, self.started_at, self.ended_at, min(before, self.started_at), max(after, self.ended_at)
        )

    def rows(self) -> pl.DataFrame:
        """period, from_at, to_at, seconds: one row each that is not empty."""
        bounds = [
            ("before", self.before_from, self.started_at),
            ("during", self.started_at, self.ended_at),
            ("after", self.ended_at, self.after_to),
        ]
        times = pl.Datetime("us", "UTC")
        return pl.DataFrame(
            [(name, first, last, (last - first).total_seconds()) for name, first, last in bounds if last > first],
            {"period": pl.String, "from_at": times, "to_at": times, "seconds": pl.Float64},
            orient="row",
        )


def ask(connection: duckdb.DuckDBPyConnection, periods: Periods, text: str) -> pl.DataFrame:
    """Run SQL in which ``pgtrace_period`` are the periods, and $server is bound."""
    connection.register("pgtrace_period", periods.rows())
    try:
        rows: pl.DataFrame = connection.sql(text, params={"server": periods.server}).pl()
    finally:
        connection.unregister("pgtrace_period")
    return rows
