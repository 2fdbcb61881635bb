"""Would a connection pooler help, and how large a pool? From sessions and executions at once, and from churn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from pgtrace.doctor.scope import Scope

#: connections a second that cost more than they should, and sessions that last less than a second
_CHURN_PER_S, _SHORT_PCT, _FEWEST_SESSIONS = 5.0, 50.0, 100
#: sessions open at once, of which most do nothing most of the time
_MANY_SESSIONS, _IDLE_PCT = 50, 90.0
#: time to set a session up that hurts where it happens often
_SLOW_SETUP_MS = 20.0
_YES, _NO, _CANNOT_TELL = "yes", "no", "cannot tell"


@dataclass(frozen=True, slots=True)
class Pooling:
    """``verdict`` on whether a pooler would help; ``pool_size`` for it; ``hints`` are lines of pgbouncer.ini."""

    verdict: str
    reasons: tuple[str, ...]
    pool_size: int | None
    hints: tuple[str, ...]
    numbers: Mapping[str, Any]
    would_tell: tuple[str, ...] = ()


def advise_pooling(scope: Scope, concurrency: Mapping[str, Any], hidden_ms: float) -> Pooling:
    """Judge the row of the named query ``concurrency`` of this server.

    Where executions below ``hidden_ms`` are not logged, neither the size of a pool nor idleness can be told.
    """
    if not concurrency or concurrency["sessions"] + concurrency["refused"] == 0:
        text = "connections are not in this log"
        return Pooling(_CANNOT_TELL, (text,), None, (), concurrency, ("log_connections", "log_disconnections"))
    reasons = _reasons(concurrency, hidden_ms)
    active = None if hidden_ms else concurrency["active_max"]
    # a quarter more than the most that were ever at work at once
    size = None if active is None else max(2, ceil(1.25 * active))
    unknown = {"log_disconnections": concurrency["sessions_max"], "log_min_duration_statement": active}
    missing = tuple(setting for setting, value in unknown.items() if value is None)
    if not reasons:
        if concurrency["sessions_max"] is None:
            text = "how many sessions are open at once is not in this log"
            return Pooling(_CANNOT_TELL, (text,), size, (), concurrency, missing)
        text = (
            f"at most {concurrency['sessions_max']:.0f} sessions at once, "
            f"{concurrency['connections_per_s'] or 0:.2g} new ones a second"
        )
        return Pooling(_NO, (text,), size, (), concurrency, missing)
    return Pooling(_YES, tuple(reasons), size, tuple(_hints(scope, concurrency, size)), concurrency, missing)


def _reasons(row: Mapping[str, Any], hidden_ms: float) -> list[str]:
    reasons = []
    rate, short = row["connections_per_s"] or 0, row["short_sessions_pct"] or 0
    if row["refused_too_many"]:
        reasons.append(f"{row['refused_too_many']:,} connections were refused because there were too many")
    if rate >= _CHURN_PER_S and row["sessions"] >= _FEWEST_SESSIONS and short >= _SHORT_PCT:
        reasons.append(
            f"{rate:.1f} connections a second (up to {row['connections_peak']:,}), and {short:.0f} % of the sessions "
            "last less than a second"
        )
        if (row["setup_p50_ms"] or 0) >= _SLOW_SETUP_MS:
            reasons.append(
                f"each takes {row['setup_p50_ms']:.0f} ms to set up, 5 % of them {row['setup_p95_ms']:.0f} ms"
            )
    if not hidden_ms and (row["sessions_p95"] or 0) >= _MANY_SESSIONS and (row["idle_pct"] or 0) >= _IDLE_PCT:
        reasons.append(
            f"{row['sessions_p95']:.0f} sessions are open at once and {row['idle_pct']:.0f} % of their time they run "
            "nothing that is logged"
        )
    return reasons


def _hints(scope: Scope, row: Mapping[str, Any], size: int | None) -> list[str]:
    hints = ["pool_mode = transaction    ; session, where SET, advisory locks, LISTEN or temporary tables are used"]
    if size is not None:
        seen = f"{row['active_max']:.1f} executions at once; more where clients wait within transactions"
        hints.append(f"default_pool_size = {size}    ; at most {seen}")
    if row["sessions_max"] is not None:
        hints.append(
            f"max_client_conn = {max(100, ceil(2 * row['sessions_max']))}    ; clients wait here, not in the server"
        )
    hints.append("max_prepared_statements = 200    ; PgBouncer 1.21 or later, for drivers that prepare statements")
    if scope.known.get("max_connections") is not None:
        hints.append(f"; max_connections of the server is {scope.known.text('max_connections')}: leave some for others")
    return hints
