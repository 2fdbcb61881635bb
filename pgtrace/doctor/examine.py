"""The examination: one diagnosis per server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.doctor.advice import settings_advice
from pgtrace.doctor.answer import YES, Advice, Answer
from pgtrace.doctor.cpu import high_cpu
from pgtrace.doctor.disk import disk_io_spiked
from pgtrace.doctor.known import known_settings
from pgtrace.doctor.logged import logged_by
from pgtrace.doctor.memory import Memory, memory_ceiling
from pgtrace.doctor.pooling import Pooling, advise_pooling
from pgtrace.doctor.replication import replication_lagging
from pgtrace.doctor.scope import Scope, within
from pgtrace.doctor.slow import suddenly_slow
from pgtrace.doctor.spikes import bins_of
from pgtrace.errors import UsageError
from pgtrace.timespan import parse_time


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found on one server; ``answers`` are to the four questions, in their order.

    ``notes`` are sentences on what is worth knowing beside them.
    """

    server: str
    first_at: datetime | None
    last_at: datetime | None
    answers: tuple[Answer, ...]
    memory: Memory
    pooling: Pooling
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]

    @property
    def is_wrong(self) -> bool:
        """Whether a question is answered yes."""
        return any(answer.verdict == YES for answer in self.answers)


def examine(
    handle: LakeHandle,
    *,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    server: str | None = None,
    settings: pl.DataFrame | None = None,
    on_step: Callable[[str], None] | None = None,
) -> list[Diagnosis]:
    """Examine each server of a lake, or the one named, in a span of time.

    ``settings`` are rows of table ``setting`` from a file (``snapshotfile.read_snapshot``), which count as the newest
    snapshot of every server. Raises UsageError for a time that cannot be read and a server that is not there.
    """
    scopes = scopes_of(handle, since=since, until=until, server=server, settings=settings, on_step=on_step)
    return [_diagnosed(scope) for scope in scopes]


def scopes_of(
    handle: LakeHandle,
    *,
    since: str | datetime | None,
    until: str | datetime | None,
    server: str | None,
    settings: pl.DataFrame | None,
    on_step: Callable[[str], None] | None,
) -> Iterator[Scope]:
    """One scope per server that has a message in the span, or for the one named."""
    first, last = (parse_time(time) if isinstance(time, str) else time for time in (since, until))
    names = [name for (name,) in handle.connection.execute("select distinct server from source").fetchall()]
    if server is not None and server not in names:
        raise UsageError(f"no server '{server}' in this lake: there is {', '.join(sorted(names)) or 'nothing in it'}")
    for name in sorted(names) if server is None else [server]:
        scope = _scope(handle, name, first, last, settings, on_step or (lambda _: None))
        if scope.first_at is not None or server is not None:
            yield scope


def _scope(
    handle: LakeHandle,
    server: str,
    since: datetime | None,
    until: datetime | None,
    settings: pl.DataFrame | None,
    tell: Callable[[str], None],
) -> Scope:
    bare = Scope(handle, server, since, until, known_settings(pl.DataFrame(), [], None), None, None, tell)
    span = bare.row(
        f"select min(logged_at) as first_at, max(logged_at) as last_at from record where {within('logged_at')}"
    )
    snapshots = settings
    if snapshots is None:
        snapshots = bare.frame("select * from setting where server = $server")
    changes = bare.rows(
        """
        select logged_at, event, parameter, value
        from server_event
        where server = $server and event in ('parameter_changed', 'parameter_reset')
            and ($until is null or logged_at < $until)
        order by logged_at, source_id, line_no
        """
    )
    version = bare.row(
        "select arg_max(server_version, logged_at) as version from server_event "
        "where server = $server and server_version is not null"
    )
    known = known_settings(snapshots, changes, version["version"])
    return Scope(handle, server, since, until, known, span["first_at"], span["last_at"], tell)


def _diagnosed(scope: Scope) -> Diagnosis:
    tell = scope.tell
    tell(f"{scope.server}: what is logged")
    logged = logged_by(scope)
    causes = scope.handle.why(since=scope.since, until=scope.until, server=scope.server, on_step=tell)
    tell(f"{scope.server}: looking for slow episodes")
    episodes = scope.query("episodes")
    tell(f"{scope.server}: CPU and I/O by process")
    answers: list[Answer] = []
    if scope.first_at is not None and scope.last_at is not None:
        bins = bins_of(scope.first_at, scope.last_at)
        timeline = scope.query("resource_timeline", step_s=bins.step_s).to_dicts()
        answers = [
            high_cpu(scope, bins, timeline, causes, logged),
            disk_io_spiked(scope, bins, timeline, logged),
        ]
    answers += [replication_lagging(scope, logged), suddenly_slow(scope, causes, episodes, logged)]
    tell(f"{scope.server}: memory, pooling and settings")
    concurrency = scope.query_row("concurrency")
    hidden_ms = causes.facts["logged_from_ms"] or 0.0
    return Diagnosis(
        scope.server,
        scope.first_at,
        scope.last_at,
        tuple(answers),
        memory_ceiling(scope, concurrency, hidden_ms),
        advise_pooling(scope, concurrency, hidden_ms),
        tuple(settings_advice(scope, causes, concurrency, logged)),
        tuple(_notes(scope)),
    )


def _notes(scope: Scope) -> list[str]:
    """What is not among the four questions, and too grave to be silent about."""
    row: dict[str, Any] = scope.row(
        f"""
        select
            (select count(*) from archive where outcome in ('failed', 'gave up') and {within("logged_at")}) as archive,
            (select count(*) from server_event where event = 'process_exited' and is_crash and {within("logged_at")})
                as crashes,
            (select count(*) from deadlock where {within("logged_at")}) as deadlocks,
            (select count(*) from vacuum_event
                where event in ('wraparound_near', 'commands_refused', 'failsafe') and {within("logged_at")})
                as wraparound,
            (select count(*) from error where severity = 'PANIC' and {within("logged_at")}) as panics
        """
    )
    texts = {
        "panics": "PANIC messages: {:,} (pgtrace query errors)",
        "crashes": "crashes of processes: {:,} (pgtrace query crashes)",
        "wraparound": "warnings that transaction ids run out: {:,} (table vacuum_event)",
        "archive": "failures to archive or restore WAL: {:,} (pgtrace query archiver_gaps)",
        "deadlocks": "deadlocks: {:,} (pgtrace query deadlocks)",
    }
    return [text.format(row[name]) for name, text in texts.items() if row[name]]
