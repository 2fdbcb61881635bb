"""The settings that decide which executions are logged, as far as snapshots and changes in the log tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

_DURATION = re.compile(r"(-?[0-9.]+) *(us|ms|s|min|h|d)?")
_IN_MS = {None: 1.0, "us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """All values that each setting is known to have had; empty where nothing is known."""

    min_duration_ms: tuple[float, ...]
    sample_ms: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def is_sampled(self) -> bool:
        """Whether some executions are logged at random (log_statement_sample_rate, log_transaction_sample_rate)."""
        return any(0 < rate < 1 for rate in self.rates)

    @property
    def whole_from_ms(self) -> float:
        """Below this a sample is logged at most (log_min_duration_sample): 0 where none is taken."""
        samples = self.is_sampled and any(value >= 0 for value in self.sample_ms)
        return max(self.min_duration_ms, default=0.0) if samples else 0.0


def log_settings(connection: duckdb.DuckDBPyConnection, server: object) -> LogSettings:
    """Read what is known of a server."""
    rows = connection.execute(
        """
        select name, coalesce(cast(value_ms as varchar), setting)
        from setting
        where server = $server
        union all
        select parameter, value
        from server_event
        where server = $server and event = 'parameter_changed'
        """,
        {"server": server},
    ).fetchall()

    def values(*names: str) -> tuple[float, ...]:
        found = [duration_ms(value) for name, value in rows if name in names and value is not None]
        return tuple(value for value in found if value is not None)

    return LogSettings(
        min_duration_ms=values("log_min_duration_statement"),
        sample_ms=values("log_min_duration_sample"),
        rates=tuple(rate for rate in values("log_statement_sample_rate", "log_transaction_sample_rate") if rate > 0),
    )


def duration_ms(text: str) -> float | None:
    """A duration as PostgreSQL writes it, in ms (which a bare number is); None where it is none."""
    found = _DURATION.fullmatch(text.strip())
    try:
        return float(found[1]) * _IN_MS[found[2]] if found else None
    except ValueError:
        return None
