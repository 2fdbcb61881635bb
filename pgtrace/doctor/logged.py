"""What the server logs, as far as the log itself or the settings tell: for an honest no, and an honest cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

from pgtrace.doctor.scope import Scope, within

SEEN, ON, OFF, UNKNOWN = "seen", "on", "off", "not seen in this log"


@dataclass(frozen=True, slots=True)
class Logged:
    """Each setting's state: ``seen`` (rows of it are in this log), ``on`` or ``off`` (known from settings), unknown.

    ``rows`` counts what was seen.
    """

    states: dict[str, str]
    rows: dict[str, int]

    def has(self, setting: str) -> bool:
        """Whether it is known that such things would be in the log."""
        return self.states[setting] in (SEEN, ON)


#: settings, the rows that show that they are on (null-safe), and the value that is off
_SHOWN_BY = {
    "log_checkpoints": ("select count(*) from checkpoint where {started_at}", "off"),
    "log_autovacuum_min_duration": (
        "select (select count(*) from autovacuum where {logged_at})"
        " + (select count(*) from autoanalyze where {logged_at})",
        "-1",
    ),
    "log_lock_waits": ("select count(*) from lock_wait where {logged_at}", "off"),
    "log_temp_files": ("select count(*) from temp_file where {logged_at}", "-1"),
    "log_connections": ("select count(received_at) from connection where {logged_at}", "off"),
    "log_disconnections": ("select count(session_s) from connection where {logged_at}", "off"),
    "log_min_duration_statement": (
        "select count(*) from statement where logged_by = 'duration' and {logged_at}",
        "-1",
    ),
    "log_statement_stats": ("select count(*) from resource_usage where {logged_at}", "off"),
    "auto_explain.log_min_duration": ("select count(*) from plan where {logged_at}", "-1"),
    "auto_explain.log_buffers": ("select count(shared_hit_blocks) from plan where {logged_at}", "off"),
    "auto_explain.log_analyze": ("select count(actual_total_ms) from plan where {logged_at}", "off"),
    "track_io_timing": (
        "select (select count(*) from plan_node where io_read_ms is not null and {logged_at})"
        " + (select count(io_read_ms) from autovacuum where {logged_at})",
        "off",
    ),
    "log_replication_commands": (
        "select count(*) from replication where event = 'command_received' and {logged_at}",
        "off",
    ),
    "log_recovery_conflict_waits": (
        "select count(*) from replication where event in ('recovery_waiting', 'recovery_wait_ended') and {logged_at}",
        "off",
    ),
}
#: settings that are on where nobody changed them, from a version on
_ON_SINCE = {"log_checkpoints": 15, "log_autovacuum_min_duration": 15}


def logged_by(scope: Scope) -> Logged:
    """Look at what there is, and at what is known."""
    parts = [
        f"({query.format(logged_at=within('logged_at'), started_at=within('logged_at'))}) as n{place}"
        for place, (query, _) in enumerate(_SHOWN_BY.values())
    ]
    counts = scope.row(f"select {', '.join(parts)}")
    rows = {setting: int(counts[f"n{place}"] or 0) for place, setting in enumerate(_SHOWN_BY)}
    states = {setting: _state(scope, setting, rows[setting], off) for setting, (_, off) in _SHOWN_BY.items()}
    return Logged(states, rows)


def _state(scope: Scope, setting: str, rows: int, off: str) -> str:
    value = scope.known.get(setting)
    if value is not None:
        is_off = value.text == off or value.text.lower() in ("", "false", "no") or (value.number or 0) < 0
        return OFF if is_off else SEEN if rows else ON
    if rows:
        return SEEN
    if setting in _ON_SINCE and scope.known.since_version(_ON_SINCE[setting]):
        return ON
    return UNKNOWN
