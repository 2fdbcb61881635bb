"""What a log hides: durations below a threshold (log_min_duration_statement), samples, fractions of seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np

#: the log is looked at in so many stretches of time, as the setting may have been changed
_STRETCHES = 40
#: a stretch with fewer executions says nothing
_FEWEST = 400
#: shorter than this is logged by no threshold, which are whole milliseconds
_SHORTEST_THRESHOLD_MS = 0.95
#: a threshold is a round number, and with many executions the shortest is just above it
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 7.5, 8, 9)
_JUST_ABOVE = 1.03


@dataclass(frozen=True, slots=True)
class Logging:
    """``from_ms``: nothing shorter is in the log, 0 where everything is; ``resolution_ms`` of its times."""

    from_ms: float
    resolution_ms: float
    is_sampled: bool

    @property
    def is_censored(self) -> bool:
        """Whether the fast executions are missing."""
        return self.from_ms > 0


@dataclass(frozen=True, slots=True)
class Facts:
    """How many executions there are, from when to when (seconds since 1970), and how they are logged."""

    statements: int
    first_s: float
    last_s: float
    logging: Logging

    @property
    def resolution_ms(self) -> float:
        """Resolution of the log's times."""
        return self.logging.resolution_ms


def logging_of(connection: duckdb.DuckDBPyConnection, bounds: Mapping[str, object]) -> Facts | None:
    """Find out from the data, and from snapshots and changes of settings, how executions are logged."""
    where = (
        "phase not in ('parse', 'bind') and server = $server "
        "and ($since is null or started_at >= $since) and ($until is null or started_at < $until)"
    )
    statements, first, last, whole = connection.execute(
        "select count(*), min(epoch_us(started_at)), max(epoch_us(started_at)), "
        f"bool_and(epoch_us(logged_at) % 1000000 = 0) from statement where {where}",
        dict(bounds),
    ).fetchall()[0]
    if statements < 2 or first is None or last is None or last <= first:
        return None
    stretch = max((last - first) / _STRETCHES, 1)
    rows = connection.execute(
        f"select min(duration_ms), count(*) from statement where {where} "
        f"group by floor((epoch_us(started_at) - {first}) / {stretch})",
        dict(bounds),
    ).fetchall()
    return Facts(
        statements=int(statements),
        first_s=first / 1e6,
        last_s=last / 1e6,
        logging=Logging(
            from_ms=_threshold(rows),
            resolution_ms=1000.0 if whole else 1.0,
            is_sampled=_is_sampled(connection, bounds["server"]),
        ),
    )


def _threshold(stretches: list[tuple[float, int]]) -> float:
    """The threshold in force or, where it was changed, the highest: above it nothing is missing."""
    shortest = rounded_down(min(duration for duration, _ in stretches))
    later = [rounded_down(duration) for duration, count in stretches if count >= _FEWEST]
    raised = [found for found in later if found >= 2 * shortest and is_round(found)]
    highest = max([shortest, *raised])
    return highest if highest >= _SHORTEST_THRESHOLD_MS else 0.0


def is_round(duration_ms: float) -> bool:
    """Whether someone may have set a threshold of so many milliseconds."""
    power = 10.0 ** np.floor(np.log10(max(duration_ms, 1e-6)))
    return any(abs(duration_ms - digit * power) < 1e-6 * power for digit in _ROUND)


def rounded_down(shortest_ms: float) -> float:
    """The round number of milliseconds just below, where there is one; else the shortest duration itself."""
    power = 10.0 ** np.floor(np.log10(max(shortest_ms, 1e-6)))
    candidates = [digit * power for digit in _ROUND if digit * power <= shortest_ms * 1.000001]
    nearest = max(candidates, default=shortest_ms)
    return float(nearest) if shortest_ms <= nearest * _JUST_ABOVE else shortest_ms


def _is_sampled(connection: duckdb.DuckDBPyConnection, server: object) -> bool:
    """Whether a sample of the executions is all that is logged, as far as settings are known."""
    found = connection.execute(
        """
        select count(*) > 0
        from (
            select name, setting from setting where server = $server
            union all
            select parameter, value from server_event where server = $server and event = 'parameter_changed'
        )
        where name in ('log_statement_sample_rate', 'log_transaction_sample_rate')
            and try_cast(setting as double) > 0 and try_cast(setting as double) < 1
        """,
        {"server": server},
    ).fetchall()
    return bool(found[0][0])
