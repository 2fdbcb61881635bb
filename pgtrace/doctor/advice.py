"""Settings that the evidence argues against; no evidence, no advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from pgtrace.analysis import Causes
from pgtrace.doctor.answer import Advice, alter_system
from pgtrace.doctor.checkpointadvice import checkpoint_advice
from pgtrace.doctor.logged import Logged
from pgtrace.doctor.scope import Scope, within
from pgtrace.doctor.vacuumadvice import vacuum_advice
from pgtrace.units import size_parse, size_text

#: temporary files that are worth memory
_LEAST_TEMP_BYTES, _FEWEST_FILES = 64 * 1024**2, 10
_LEAST_BUILD_BYTES = 1024**3
_BUILDS = r"^(create (unique )?index|alter|reindex|cluster|vacuum)\b"
#: work_mem for all sessions is not raised beyond this; one query may have more
_MOST_WORK_MEM_MB = 64
#: max_connections that is so many times what was ever used, and so many
_UNUSED_TIMES, _MANY = 5.0, 200
_JIT_PCT, _JIT_S = 20.0, 5.0


def settings_advice(scope: Scope, causes: Causes, concurrency: Mapping[str, Any], logged: Logged) -> list[Advice]:
    """All of it, for one server."""
    return [
        *checkpoint_advice(scope, causes),
        *_work_mem(scope),
        *_index_builds(scope),
        *vacuum_advice(scope),
        *_max_connections(scope, concurrency),
        *_locks(scope, logged),
        *_standbys(scope),
        *_jit(scope),
    ]


def _work_mem(scope: Scope) -> Iterator[Advice]:
    files = _temp_files(scope, is_build=False)
    if (files["bytes"] or 0) < _LEAST_TEMP_BYTES or files["files"] < _FEWEST_FILES:
        return
    queries = scope.query("work_mem_needed").filter(_is_read()).to_dicts()
    if not queries:
        return
    worst = max(queries, key=lambda row: row["max_bytes"] or 0)
    needed = max(row["p95_work_mem_mb"] for row in queries)
    modest = [row["p95_work_mem_mb"] for row in queries if row["p95_work_mem_mb"] <= _MOST_WORK_MEM_MB]
    now = scope.known.get("work_mem")
    commands: list[str] = []
    suggested = f"{needed}MB for the queries that spill"
    if modest:
        value = f"{_power_of_two(max(4, *modest))}MB"
        if now is None or now.bytes is None or size_parse(value) > now.bytes:
            suggested = value
            commands.append(alter_system("work_mem", value))
    if needed > _MOST_WORK_MEM_MB:
        commands.append(f"SET LOCAL work_mem = '{ceil(needed / 16) * 16}MB';  -- in the transaction of the large ones")
    if commands:
        text = " ".join((worst["query_text"] or "statement not logged").split())[:80]
        yield Advice(
            "work_mem",
            None if now is None else now.text,
            suggested,
            f"{files['files']:,} temporary files, {size_text(files['bytes'])}, of {len(queries)} "
            f"quer{'y' if len(queries) == 1 else 'ies'}; 95 % of the executions would need up to {needed:,} MB",
            tuple(commands),
            note=f"per sort or hash and session, so mind the memory ceiling; the largest: '{text}'",
        )


def _index_builds(scope: Scope) -> Iterator[Advice]:
    files = _temp_files(scope, is_build=True)
    if (files["bytes"] or 0) < _LEAST_BUILD_BYTES:
        return
    value = f"{min(1024, _power_of_two(ceil(2.5 * files['largest'] / 1024**2)))}MB"
    now = scope.known.get("maintenance_work_mem")
    if now is None or now.bytes is None or size_parse(value) > now.bytes:
        yield Advice(
            "maintenance_work_mem",
            None if now is None else now.text,
            value,
            f"building indexes wrote {files['files']:,} temporary files of {size_text(files['bytes'])}",
            (alter_system("maintenance_work_mem", value),),
            note="or SET it in the session that builds them; autovacuum takes it too, where autovacuum_work_mem is -1",
        )


def _temp_files(scope: Scope, *, is_build: bool) -> dict[str, Any]:
    """Temporary files of building indexes and the like, which takes maintenance_work_mem, or of all else."""
    return scope.row(
        f"""
        select count(*) as files, cast(sum(size_bytes) as bigint) as bytes, max(size_bytes) as largest
        from temp_file
        where {within("logged_at")}
            and regexp_matches(coalesce(trim(lower(statement)), ''), '{_BUILDS}') = {is_build}
        """
    )


def _power_of_two(number: int) -> int:
    """The least one that is not smaller."""
    return 1 << max(0, number - 1).bit_length()


def _is_read() -> Any:
    """Building an index takes maintenance_work_mem, and is no reason for work_mem."""
    import polars as pl

    text = pl.col("query_text").fill_null("").str.strip_chars_start().str.to_lowercase()
    return ~text.str.contains(_BUILDS)


def _max_connections(scope: Scope, row: Mapping[str, Any]) -> Iterator[Advice]:
    now = scope.known.get("max_connections")
    if row.get("refused_too_many"):
        yield Advice(
            "max_connections",
            None if now is None else now.text,
            "a connection pooler before more connections",
            f"{row['refused_too_many']:,} connections were refused because there were too many",
            ("select state, count(*), max(now() - state_change) from pg_stat_activity group by state;",),
            takes="at once",
            note="where sessions are idle a pooler is what helps; else ALTER SYSTEM SET max_connections, and a restart",
        )
    elif now is not None and now.number is not None and row.get("sessions_max"):
        most, hours = row["sessions_max"], scope.span_s / 3600
        if now.number >= _MANY and now.number >= _UNUSED_TIMES * most and hours >= 24:
            value = str(max(100, ceil(2 * most / 50) * 50))
            yield Advice(
                "max_connections",
                now.text,
                value,
                f"at most {most:.0f} sessions were open at once in {hours / 24:.0f} days",
                (alter_system("max_connections", value),),
                takes="restart",
                note="each slot may take work_mem, and a standby needs at least as many as its primary",
            )


def _locks(scope: Scope, logged: Logged) -> Iterator[Advice]:
    row = scope.row(
        f"""
        select
            (select count(*) from deadlock where {within("logged_at")}) as deadlocks,
            (select count(*) from error where cancelled_by = 'lock timeout' and {within("logged_at")}) as timeouts
        """
    )
    if (row["deadlocks"] or row["timeouts"]) and not logged.has("log_lock_waits"):
        yield Advice(
            "log_lock_waits",
            scope.known.text("log_lock_waits"),
            "on",
            f"{row['deadlocks']:,} deadlocks and {row['timeouts']:,} lock timeouts, and no wait is logged",
            (alter_system("log_lock_waits", "on"),),
            note="tells who waits longer than deadlock_timeout, and for whom",
        )


def _standbys(scope: Scope) -> Iterator[Advice]:
    row = scope.row(
        f"""
        select count(*) filter (event = 'wal_removed') as removed,
            count(*) filter (event = 'slot_invalidated') as invalidated,
            count(*) filter (event in ('statement_canceled', 'connection_terminated')) as cancelled
        from replication
        where {within("logged_at")}
        """
    )
    if row["removed"]:
        yield Advice(
            "wal_keep_size",
            scope.known.text("wal_keep_size"),
            "4GB",
            f"{row['removed']:,} times a standby asked for WAL that was gone",
            (alter_system("wal_keep_size", "4GB"),),
            note="or a replication slot, with max_slot_wal_keep_size so that it cannot fill the disk",
        )
    if row["invalidated"]:
        now = scope.known.get("max_slot_wal_keep_size")
        yield Advice(
            "max_slot_wal_keep_size",
            None if now is None else now.text,
            "more, as far as the disk allows",
            f"{row['invalidated']:,} slots were invalidated since they held too much WAL",
            ("select slot_name, active, wal_status, safe_wal_size from pg_replication_slots;",),
            takes="at once",
        )
    if row["cancelled"] >= 3:
        yield Advice(
            "max_standby_streaming_delay",
            scope.known.text("max_standby_streaming_delay"),
            "5min",
            f"recovery cancelled {row['cancelled']:,} queries on this standby",
            (alter_system("max_standby_streaming_delay", "5min"),),
            note="the standby may then be that far behind; hot_standby_feedback = on bloats the primary instead",
        )


def _jit(scope: Scope) -> Iterator[Advice]:
    row = scope.row(
        f"""
        select sum(jit_ms) / 1000 as jit_s, count(*) filter (jit_ms > 0) as plans,
            100 * fsum(jit_ms) / fsum(duration_ms) filter (jit_ms is not null) as pct
        from plan
        where {within("logged_at")}
        """
    )
    if (row["jit_s"] or 0) >= _JIT_S and row["pct"] >= _JIT_PCT:
        yield Advice(
            "jit_above_cost",
            scope.known.text("jit_above_cost"),
            "1000000",
            f"JIT took {row['jit_s']:,.1f} s, {row['pct']:.0f} % of the time of {row['plans']:,} plans that used it",
            (alter_system("jit_above_cost", "1000000"),),
        )
