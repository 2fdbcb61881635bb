"""What logging costs: by the log's own rates and sizes where it has them, else by the usual size of a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgtrace.analysis.censoring import logging_of
from pgtrace.doctor.scope import Scope, within

#: bytes of a record with what stands before it, where none of the kind is in the log: measured on samples
_USUAL = {
    "statement": 200.0,
    "checkpoint": 250.0,
    "autovacuum": 800.0,
    "lock_wait": 350.0,
    "temp_file": 300.0,
    "connection": 130.0,
    "plan": 1200.0,
    "resource_usage": 700.0,
    "replication": 200.0,
}
_MB = 1024.0**2
Cost = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class Costs:
    """Rates of one server's log. ``volume``: rows of the named query ``log_volume`` by kind; ``hours`` of log.

    ``logged_from_ms``: durations below are not logged; 0: all are; None: there is none. ``above_10ms``: share of the
    logged executions over 10 ms. ``sessions`` seen, whether or not their connection is logged. ``xacts_per_s``:
    transactions in the WAL or of PgBouncer, None where neither tells.
    """

    volume: Mapping[str, Mapping[str, Any]]
    hours: float
    logged_from_ms: float | None
    executions: int
    above_10ms: float | None
    sessions: int
    timeout_s: float
    xacts_per_s: float | None

    def _size(self, kind: str) -> float:
        row = self.volume.get(kind)
        return float(row["bytes_per_record"]) if row else _USUAL[kind]

    def _measured(self, kind: str, noun: str) -> Cost | None:
        row = self.volume.get(kind)
        if not row:
            return None
        text = (
            f"now {row['mb_per_day']:,.1f} MB a day: {row['records_per_hour']:,.0f} {noun} an hour of "
            f"{row['bytes_per_record']:,.0f} bytes"
        )
        return text, float(row["mb_per_day"])

    def statements(self, threshold: float | None) -> Cost:
        """Durations and statements: what they take now, and what all of them, or those over 10 ms, would."""
        row = self.volume.get("statement")
        each = self._size("statement")
        if threshold == 0 and row:
            text, megabytes = self._measured("statement", "records") or ("", None)
            if self.above_10ms is not None:
                text += f"; 10ms instead of 0 would leave {100 * self.above_10ms:.1f} % of them"
            return text, megabytes
        if self.xacts_per_s is not None:
            megabytes = self.xacts_per_s * 86_400 * each / _MB
            text = (
                f"all (0): at least {megabytes:,.0f} MB a day, of {self.xacts_per_s:,.1f} transactions a second and "
                f"{each:.0f} bytes each; a sample of 1 %: {megabytes / 100:,.1f} MB"
            )
            return text, megabytes / 100
        if row:
            now = f"those over {threshold:g} ms: now {row['mb_per_day']:,.1f} MB a day" if threshold else "now some"
            return f"{now}; how many are faster the log does not say, so begin with a sample of 1 %", row["mb_per_day"]
        return f"{each:.0f} bytes each; how many there are the log does not say, so begin with a sample of 1 %", None

    def checkpoints(self) -> Cost:
        """Two records each."""
        size = 2 * self._size("checkpoint")
        megabytes = 86_400 / self.timeout_s * size / _MB
        text = f"{megabytes:.2f} MB a day: one every {self.timeout_s:.0f} s, {size:.0f} bytes"
        return self._measured("checkpoint", "records") or (text, megabytes)

    def lock_waits(self) -> Cost:
        """Only who waits writes."""
        text = f"two records of {self._size('lock_wait'):.0f} bytes for each wait over deadlock_timeout (1s), else none"
        return self._measured("lock_wait", "records") or (text, None)

    def temp_files(self) -> Cost:
        """One record per file."""
        text = f"{self._size('temp_file'):.0f} bytes for each temporary file; how many there are the log does not say"
        return self._measured("temp_file", "records") or (text, None)

    def vacuums(self) -> Cost:
        """One record per run."""
        text = f"{self._size('autovacuum'):.0f} bytes for each run of autovacuum, some hundred a day on most servers"
        return self._measured("autovacuum", "runs") or (text, None)

    def connections(self, records: int) -> Cost:
        """By the sessions that wrote anything."""
        size = records * self._size("connection")
        row = self.volume.get("connection")
        if row or not self.sessions:
            return self._measured("connection", "records") or (f"{size:.0f} bytes for each session", None)
        per_hour = self.sessions / self.hours
        megabytes = 24 * per_hour * size / _MB
        return (
            f"at least {megabytes:.1f} MB a day: {per_hour:,.0f} sessions an hour write to the log already",
            megabytes,
        )

    def plans(self) -> Cost:
        """By the executions over a second."""
        measured = self._measured("plan", "plans")
        text = (
            f"{self._size('plan'):,.0f} bytes for each plan over auto_explain.log_min_duration; log_analyze counts the "
            "rows of every execution, which costs CPU (a few per cent; log_timing = off keeps it there)"
        )
        return measured or (text, None)

    def stats(self) -> Cost:
        """One record for every statement, whatever its duration."""
        measured = self._measured("resource_usage", "records")
        if measured:
            return measured
        size = self._size("resource_usage")
        if self.logged_from_ms == 0 and self.executions:
            megabytes = 24 * self.executions / self.hours * size / _MB
            return f"{megabytes:,.0f} MB a day: {size:.0f} bytes for every statement; only for a while", megabytes
        return f"{size:.0f} bytes for every statement, however short: only for a while", None

    def timing(self) -> Cost:
        """No record at all."""
        return "no log; some ns of clock for each read and write: pg_test_timing says how many", 0.0

    def replication(self) -> Cost:
        """Few commands."""
        text = f"{self._size('replication'):.0f} bytes for each command of a standby or a backup: next to nothing"
        return text, 0.0

    def conflicts(self) -> Cost:
        """Only recovery that waits writes."""
        return "on a standby; two records for each wait of recovery over deadlock_timeout, else none", None


def costs_of(scope: Scope) -> Costs:
    """Look up the rates of a server."""
    volume = {row["kind"]: row for row in scope.query("log_volume").to_dicts()}
    facts = logging_of(scope.handle.connection, {"server": scope.server, "since": scope.since, "until": scope.until})
    row = scope.row(
        f"""
        select
            (select count(*) from statement where phase not in ('parse', 'bind') and {within("logged_at")})
                as executions,
            (select count(*) filter (duration_ms > 10) / nullif(count(*), 0) from statement where {within("logged_at")})
                as above_10ms,
            (select count(distinct coalesce(session_id, cast(pid as varchar)))
                from record where user_name is not null and {within("logged_at")}) as sessions,
            (select cast(sum(commits) as double) / nullif(1 + date_diff('second', min(second), max(second)), 0)
                from wal_second where {within("second")}) as wal_xacts,
            (select avg(coalesce(xacts_per_s, queries_per_s)) from pgbouncer
                where event = 'stats' and {within("logged_at")}) as pool_xacts
        """
    )
    timeout = scope.known.get("checkpoint_timeout")
    return Costs(
        volume,
        max(scope.span_s / 3600, 1 / 3600),
        None if facts is None else facts.logging.from_ms,
        row["executions"],
        row["above_10ms"],
        row["sessions"],
        timeout.ms / 1000 if timeout is not None and timeout.ms else 300.0,
        row["wal_xacts"] or row["pool_xacts"],
    )
