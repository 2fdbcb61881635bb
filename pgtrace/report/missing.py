"""What a report could not answer: tables without rows, and the setting of the server that would fill them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pgtrace.api import LakeHandle, table_named
from pgtrace.query import Query
from pgtrace.timespan import Window

_DURATIONS = "log_min_duration_statement (or log_duration with log_statement)"
_PLANS = "shared_preload_libraries = 'auto_explain' with auto_explain.log_min_duration"
_WAL = "WAL segments, or the text of pg_waldump, read with pgtrace ingest"
#: what has to be set, or read, so that a table has rows; None: the server writes such messages without being asked
NEEDED: dict[str, str | None] = {
    "record": "a log, read with pgtrace ingest",
    "unparsed": None,
    "source": "a log, read with pgtrace ingest",
    "query": _DURATIONS,
    "statement": _DURATIONS,
    "plan": _PLANS,
    "plan_node": _PLANS,
    "archive": "archive_mode = on; successes are logged with log_min_messages = debug1",
    "autoanalyze": "log_autovacuum_min_duration = 0",
    "autovacuum": "log_autovacuum_min_duration = 0",
    "checkpoint": "log_checkpoints = on",
    "connection": "log_connections = on and log_disconnections = on",
    "deadlock": None,
    "error": None,
    "lock_wait": "log_lock_waits = on",
    "whole_lock_wait": "log_lock_waits = on",
    "memory_context": None,
    "pgbouncer": "the log of PgBouncer, read with pgtrace ingest",
    "relation": "a snapshot of pg_class (docs/snapshots.md)",
    "relation_snapshot": "a snapshot of pg_class (docs/snapshots.md)",
    "setting": "a snapshot of pg_settings (docs/snapshots.md)",
    "replication": "log_replication_commands = on; on a standby log_recovery_conflict_waits = on",
    "resource_usage": "log_statement_stats = on, or log_parser_stats, log_planner_stats, log_executor_stats",
    "server_event": None,
    "temp_file": "log_temp_files = 0",
    "vacuum_event": None,
    "background_event": "log_checkpoints = on, log_autovacuum_min_duration = 0 and log_lock_waits = on",
    "event_window": "log_checkpoints = on, log_autovacuum_min_duration = 0 and log_lock_waits = on",
    "activity": _DURATIONS,
    "wal_block": _WAL,
    "wal_record": _WAL,
    "wal_second": _WAL,
    "wal_process": _WAL,
    "wal_burst": _WAL,
    "wal_checkpoint": _WAL,
    "wal_change": _WAL,
    "wal_record_time": _WAL,
    "lsn_time": _WAL,
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A table without rows that a query reads; ``needs`` is what would fill it, None where it needs nothing."""

    query: str
    table: str
    reason: str
    needs: str | None


class Emptiness:
    """Which tables have no rows, in the lake or in the window; each is asked once."""

    def __init__(self, lake: LakeHandle, window: Window, server: str | None):
        self._lake = lake
        self._window = window
        self._server = server
        self._reasons: dict[str, str | None] = {}

    def missing(self, query: Query) -> Iterable[Missing]:
        """Of the tables that the query reads, those without rows."""
        for table in query.reads:
            reason = self._reason(table)
            if reason is not None:
                yield Missing(query.name, table, reason, NEEDED.get(table))

    def _reason(self, table: str) -> str | None:
        if table not in self._reasons:
            self._reasons[table] = self._ask(table)
        return self._reasons[table]

    def _ask(self, table: str) -> str | None:
        time = table_named(table).time
        of_server = " of this server" if self._server is not None else ""
        if not self._any(table, ()):
            return f"table {table} has no rows{of_server}"
        # of shapes only the first is dated, of snapshots the time says nothing of what holds in the window
        if time in table_named(table).columns and table not in ("query", "setting", "relation_snapshot"):
            bounds = ((f'"{time}" >= $since', self._window.since), (f'"{time}" < $until', self._window.until))
            chosen = tuple(text for text, bound in bounds if bound is not None)
            if chosen and not self._any(table, chosen):
                return f"table {table} has no rows{of_server} in this window"
        return None

    def _any(self, table: str, conditions: tuple[str, ...]) -> bool:
        where = ["true", *conditions, *(["server = $server"] if self._server is not None else [])]
        text = f'select 1 from "{table}" where {" and ".join(where)} limit 1'
        bound = {"since": self._window.since, "until": self._window.until, "server": self._server}
        parameters = {name: value for name, value in bound.items() if f"${name}" in text}
        return bool(self._lake.connection.execute(text, parameters).fetchall())
