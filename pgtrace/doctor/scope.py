"""What is looked at: one server in one span of time, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.doctor.known import Known


@dataclass(frozen=True, slots=True)
class Scope:
    """One server from ``since`` on and before ``until`` (None: unbounded), with what is known of its settings.

    ``first_at`` and ``last_at``: of its messages in that span. ``tell`` is told what is being done.
    """

    handle: LakeHandle
    server: str
    since: datetime | None
    until: datetime | None
    known: Known
    first_at: datetime | None
    last_at: datetime | None
    tell: Callable[[str], None]

    @property
    def span_s(self) -> float:
        """Seconds from the first message to the last."""
        if self.first_at is None or self.last_at is None:
            return 0.0
        return (self.last_at - self.first_at).total_seconds()

    def frame(self, text: str) -> pl.DataFrame:
        """Rows of SQL, which may use ``$server``, ``$since`` and ``$until``."""
        bounds = {"server": self.server, "since": self.since, "until": self.until}
        used = {name: value for name, value in bounds.items() if f"${name}" in text}
        found: pl.DataFrame = self.handle.connection.sql(text, params=used).pl()
        return found

    def rows(self, text: str) -> list[dict[str, Any]]:
        """The same as dictionaries."""
        return self.frame(text).to_dicts()

    def row(self, text: str) -> dict[str, Any]:
        """The only row."""
        [found] = self.rows(text)
        return found

    def query(self, name: str, **parameters: object) -> pl.DataFrame:
        """A named query of this server in this span."""
        bounds = {"server": self.server, "since": self.since, "until": self.until}
        found: pl.DataFrame = self.handle.query(name, **bounds, **parameters).pl()
        return found

    def query_row(self, name: str) -> dict[str, Any]:
        """The row of a named query that has one per server; empty where it has none."""
        return next(iter(self.query(name).to_dicts()), {})


def within(column: str) -> str:
    """The condition that ``column`` is of the server and in the span."""
    return f"server = $server and ($since is null or {column} >= $since) and ($until is null or {column} < $until)"
