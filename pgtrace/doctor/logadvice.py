"""Which settings are missing for which answer, told from the log, and what switching them on would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.doctor.answer import alter_system
from pgtrace.doctor.examine import scopes_of
from pgtrace.doctor.logcost import Costs, costs_of
from pgtrace.doctor.logged import ON, SEEN, Logged, logged_by
from pgtrace.doctor.memory import SNAPSHOT
from pgtrace.doctor.prefixadvice import PrefixAdvice, prefix_advice
from pgtrace.doctor.replication import is_standby
from pgtrace.doctor.scope import Scope

#: what each answer rests on
ANSWERS: dict[str, tuple[str, ...]] = {
    "Queries suddenly slow?": (
        "log_min_duration_statement",
        "log_lock_waits",
        "log_checkpoints",
        "log_autovacuum_min_duration",
        "log_temp_files",
        "log_connections",
    ),
    "High CPU?": ("log_min_duration_statement", "log_autovacuum_min_duration", "log_statement_stats"),
    "Disk I/O spiked?": (
        "log_checkpoints",
        "log_autovacuum_min_duration",
        "log_temp_files",
        "track_io_timing",
        "auto_explain.log_buffers",
    ),
    "Replication lagging?": ("log_replication_commands", "log_recovery_conflict_waits"),
    "Memory": ("log_temp_files", "auto_explain.log_analyze"),
    "Pooling": ("log_connections", "log_disconnections", "log_min_duration_statement"),
}
_FINE = (SEEN, ON)
#: a threshold above this hides most of what matters
_HIGH_MS = 250.0


@dataclass(frozen=True, slots=True)
class LogSetting:
    """A setting, its state (see logged.py), and what to do where it is missing; ``commands`` is empty where it is not.

    ``mb_per_day`` is None where the log does not allow an estimate; ``cost`` is a sentence. ``takes``: reload, new
    sessions, restart. ``is_for_a_while``: it costs too much to be left on.
    """

    setting: str
    state: str
    current: str | None
    answers: tuple[str, ...]
    commands: tuple[str, ...]
    takes: str
    cost: str
    mb_per_day: float | None = None
    is_for_a_while: bool = False


@dataclass(frozen=True, slots=True)
class LoggingAdvice:
    """What one server's log has and lacks; ``snapshot`` is the command that makes a snapshot where there is none."""

    server: str
    version: int | None
    settings: tuple[LogSetting, ...]
    prefix: PrefixAdvice | None
    snapshot: str | None

    @property
    def missing(self) -> tuple[LogSetting, ...]:
        """Settings that something is to be done about."""
        return tuple(setting for setting in self.settings if setting.commands)

    @property
    def commands(self) -> tuple[str, ...]:
        """All that should stay on, in order, with the reload at the end; empty where nothing is missing."""
        lasting = [line for one in self.missing if not one.is_for_a_while for line in one.commands]
        if self.prefix is not None and self.prefix.is_poor:
            lasting += self.prefix.commands
        return (*dict.fromkeys(lasting), "select pg_reload_conf();") if lasting else ()


def advise_logging(
    handle: LakeHandle,
    *,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    server: str | None = None,
    settings: pl.DataFrame | None = None,
    on_step: Callable[[str], None] | None = None,
) -> list[LoggingAdvice]:
    """One per server of the lake, or of the one named; arguments and errors as of ``examine``."""
    scopes = scopes_of(handle, since=since, until=until, server=server, settings=settings, on_step=on_step)
    return [_advised(scope, has_snapshot=bool(scope.known.values)) for scope in scopes]


def _advised(scope: Scope, *, has_snapshot: bool) -> LoggingAdvice:
    logged, costs = logged_by(scope), costs_of(scope)
    wanted = [
        _statements(scope, logged, costs),
        _switch(scope, logged, "log_checkpoints", "on", costs.checkpoints()),
        _switch(scope, logged, "log_lock_waits", "on", costs.lock_waits()),
        _switch(scope, logged, "log_temp_files", "0", costs.temp_files()),
        _switch(scope, logged, "log_autovacuum_min_duration", "0", costs.vacuums()),
        _switch(scope, logged, "log_connections", _all_or_on(scope), costs.connections(2)),
        _switch(scope, logged, "log_disconnections", "on", costs.connections(1)),
        _switch(scope, logged, "track_io_timing", "on", costs.timing()),
        *_explain(scope, logged, costs),
        _stats(scope, logged, costs),
        _switch(scope, logged, "log_replication_commands", "on", costs.replication()),
        *_conflicts(scope, logged, costs),
    ]
    return LoggingAdvice(
        scope.server,
        scope.known.version,
        tuple(wanted),
        prefix_advice(scope),
        None if has_snapshot else SNAPSHOT,
    )


def _all_or_on(scope: Scope) -> str:
    """Version 18 logs what is listed, and durations with all of it."""
    return "all" if scope.known.since_version(18) else "on"


def _answers(setting: str) -> tuple[str, ...]:
    return tuple(answer for answer, needs in ANSWERS.items() if setting in needs)


def _switch(
    scope: Scope, logged: Logged, setting: str, value: str, cost: tuple[str, float | None], takes: str = "reload"
) -> LogSetting:
    state = logged.states[setting]
    commands = () if state in _FINE else (alter_system(setting, value),)
    text, megabytes = cost
    return LogSetting(setting, state, scope.known.text(setting), _answers(setting), commands, takes, text, megabytes)


def _statements(scope: Scope, logged: Logged, costs: Costs) -> LogSetting:
    """All durations where that is cheap; a threshold and a sample of the rest where nobody knows."""
    setting = "log_min_duration_statement"
    state, now = logged.states[setting], scope.known.get(setting)
    threshold = costs.logged_from_ms if logged.rows[setting] else now.ms if now is not None else None
    text, megabytes = costs.statements(threshold)
    commands: tuple[str, ...] = ()
    if state not in _FINE or (threshold or 0) > _HIGH_MS:
        commands = (
            alter_system(setting, "100ms"),
            alter_system("log_min_duration_sample", "0"),
            alter_system("log_statement_sample_rate", "0.01"),
        )
    shown = now.text if now is not None else None if threshold is None else f"{threshold:g} ms, from the durations"
    return LogSetting(setting, state, shown, _answers(setting), commands, "reload", text, megabytes)


def _explain(scope: Scope, logged: Logged, costs: Costs) -> list[LogSetting]:
    """auto_explain is loaded by new sessions, without a restart; it must be loaded to be set."""
    found = []
    for setting in ("auto_explain.log_analyze", "auto_explain.log_buffers"):
        state = logged.states[setting]
        commands: tuple[str, ...] = ()
        if state not in _FINE:
            needed = [] if logged.rows["auto_explain.log_min_duration"] else _LOAD
            also = [alter_system("auto_explain.log_analyze", "on")] if setting.endswith("buffers") else []
            commands = tuple(dict.fromkeys([*needed, *also, alter_system(setting, "on"), *_LIGHT]))
        text, megabytes = costs.plans()
        found.append(
            LogSetting(
                setting, state, scope.known.text(setting), _answers(setting), commands, "new sessions", text, megabytes
            )
        )
    return found


_LOAD = [
    "LOAD 'auto_explain';",
    alter_system("session_preload_libraries", "auto_explain"),
    alter_system("auto_explain.log_min_duration", "1s"),
]
_LIGHT = [alter_system("auto_explain.log_timing", "off")]


def _stats(scope: Scope, logged: Logged, costs: Costs) -> LogSetting:
    setting = "log_statement_stats"
    state = logged.states[setting]
    text, megabytes = costs.stats()
    commands = () if state in _FINE else (alter_system(setting, "on"),)
    current = scope.known.text(setting)
    return LogSetting(
        setting, state, current, _answers(setting), commands, "reload", text, megabytes, is_for_a_while=True
    )


def _conflicts(scope: Scope, logged: Logged, costs: Costs) -> list[LogSetting]:
    """On a standby, from version 14."""
    if not is_standby(scope) or (scope.known.version is not None and scope.known.version < 14):
        return []
    return [_switch(scope, logged, "log_recovery_conflict_waits", "on", costs.conflicts())]
