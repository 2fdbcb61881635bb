"""What a log hides: durations below a threshold (log_min_duration_statement), samples, fractions of seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np

from pgtrace.analysis.logsettings import LogSettings, log_settings

#: the log is looked at in so many stretches of time, as the setting may have been changed
_STRETCHES = 40
#: a stretch with fewer executions says nothing
_FEWEST = 400
#: shorter than this is logged by no threshold, which are whole milliseconds
_SHORTEST_THRESHOLD_MS = 0.95
#: a threshold is a round number, and with many executions the shortest is just above it
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 7.5, 8, 9)
_JUST_ABOVE = 1.03

#: the executions that are compared with each other: of a server, in a span, with a beginning
COMPARED = """
phase not in ('parse', 'bind') and server = $server and duration_ms is not null and started_at is not null
and ($since is null or started_at >= $since) and ($until is null or started_at < $until)
"""


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
    statements, first, last, whole = connection.execute(
        "select count(*), min(epoch_us(started_at)), max(epoch_us(started_at)), "
        f"bool_and(epoch_us(logged_at) % 1000000 = 0) from statement where {COMPARED}",
        dict(bounds),
    ).fetchall()[0]
    if statements < 2 or first is None or last is None or last <= first:
        return None
    stretch = max((last - first) / _STRETCHES, 1)
    rows = connection.execute(
        f"select min(duration_ms), count(*) from statement where {COMPARED} "
        f"group by floor((epoch_us(started_at) - {first}) / {stretch})",
        dict(bounds),
    ).fetchall()
    settings = log_settings(connection, bounds["server"])
    return Facts(
        statements=int(statements),
        first_s=first / 1e6,
        last_s=last / 1e6,
        logging=Logging(
            from_ms=_threshold(rows, settings),
            resolution_ms=1000.0 if whole else 1.0,
            is_sampled=settings.is_sampled,
        ),
    )


def _threshold(stretches: list[tuple[float, int]], settings: LogSettings) -> float:
    """The threshold in force or, where it was changed, the highest: above it nothing is missing."""
    shortest = min(duration for duration, _ in stretches)
    if settings.min_duration_ms and max(settings.min_duration_ms) == 0:
        return 0.0  # known to log everything, so that nothing shorter happened
    known = [value for value in settings.min_duration_ms if value <= shortest]
    if max(known, default=0.0) > 0:
        return max(*known, settings.whole_from_ms)
    rounded = rounded_down(shortest)
    later = [rounded_down(duration) for duration, count in stretches if count >= _FEWEST]
    raised = [found for found in later if found >= 2 * rounded and is_round(found)]
    highest = max([rounded, settings.whole_from_ms, *raised])
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
