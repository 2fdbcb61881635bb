"""The memory ceiling: what the settings allow at worst, against what was really used at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgtrace.doctor.known import Known
from pgtrace.doctor.scope import Scope
from pgtrace.units import size_text

_NEEDED = ("shared_buffers", "work_mem", "max_connections")
SNAPSHOT = r"\copy (select now() as snapshot_at, * from pg_settings) to 'settings.csv' csv header"

#: how each part is worked out
FORMULAS = {
    "shared_buffers": "shared_buffers",
    "wal_buffers": "wal_buffers",
    "sessions": "max_connections * operations * work_mem * hash_mem_multiplier",
    "parallel_workers": "max_parallel_workers * operations * work_mem * hash_mem_multiplier",
    "temp_buffers": "max_connections * temp_buffers",
    "autovacuum": "autovacuum_max_workers * autovacuum_work_mem (or maintenance_work_mem)",
    "maintenance": "maintenance_work_mem, for one command",
}


@dataclass(frozen=True, slots=True)
class Memory:
    """``parts`` of the ceiling in bytes (see FORMULAS); ``ceiling_bytes`` is None where settings that it needs
    (``unknown``) are not known. ``likely_bytes`` is shared memory, and work_mem for the most executions at once that
    were seen. ``used`` is the row of the named query ``memory_use``. ``notes`` are sentences.
    """

    parts: Mapping[str, int]
    ceiling_bytes: int | None
    likely_bytes: int | None
    operations: float
    operations_basis: str
    unknown: tuple[str, ...]
    used: Mapping[str, Any]
    notes: tuple[str, ...]


def memory_ceiling(scope: Scope, concurrency: Mapping[str, Any], hidden_ms: float) -> Memory:
    """Work out the ceiling of one server; ``concurrency`` is its row of the named query of that name.

    Where executions below ``hidden_ms`` are not logged, nobody knows how many were at work at once.
    """
    used = scope.query_row("memory_use")
    known = scope.known
    if used.get("plans"):
        operations, basis = max(1.0, used["operations_p95"]), f"of {used['plans']:,} plans 95 % have no more"
    else:
        operations, basis = 1.0, "assumed: no plan is logged (auto_explain.log_analyze)"
    unknown = tuple(name for name in _NEEDED if known.get(name) is None)
    parts = {} if unknown else _parts(known, operations)
    likely = _likely(known, operations, concurrency) if not unknown and not hidden_ms else None
    ceiling = sum(parts.values()) if parts else None
    notes = tuple(_notes(known, used, ceiling, likely, concurrency))
    return Memory(parts, ceiling, likely, operations, basis, unknown, used, notes)


def _size(known: Known, name: str, otherwise: int) -> int:
    value = known.get(name)
    return otherwise if value is None or value.bytes is None else value.bytes


def _number(known: Known, name: str, otherwise: float) -> float:
    value = known.get(name)
    return otherwise if value is None or value.number is None else value.number


def _per_operation(known: Known) -> float:
    """A hash may take hash_mem_multiplier times work_mem (from version 13; 2 from 15)."""
    multiplier = _number(known, "hash_mem_multiplier", 2.0 if known.since_version(15) else 1.0)
    return _size(known, "work_mem", 0) * max(1.0, multiplier)


def _parts(known: Known, operations: float) -> dict[str, int]:
    """Bytes of each part. What is not known has the value that is built in."""
    each = _per_operation(known)
    sessions = _number(known, "max_connections", 0)
    maintenance = _size(known, "maintenance_work_mem", 64 * 1024**2)
    workers = _number(known, "autovacuum_max_workers", 3)
    parallel = _number(known, "max_parallel_workers", 8)
    return {
        "shared_buffers": _size(known, "shared_buffers", 0),
        "wal_buffers": _size(known, "wal_buffers", 16 * 1024**2),
        "sessions": int(sessions * operations * each),
        "parallel_workers": int(parallel * operations * each),
        "temp_buffers": int(sessions * _size(known, "temp_buffers", 8 * 1024**2)),
        "autovacuum": int(workers * _size(known, "autovacuum_work_mem", maintenance)),
        "maintenance": maintenance,
    }


def _likely(known: Known, operations: float, concurrency: Mapping[str, Any]) -> int | None:
    """Shared memory, and work_mem for the most executions that were at work at once."""
    active = concurrency.get("active_max")
    if active is None:
        return None
    shared = _size(known, "shared_buffers", 0) + _size(known, "wal_buffers", 16 * 1024**2)
    return shared + int(max(1.0, active) * operations * _per_operation(known))


def _notes(
    known: Known,
    used: Mapping[str, Any],
    ceiling: int | None,
    likely: int | None,
    concurrency: Mapping[str, Any],
) -> list[str]:
    notes = []
    if ceiling is None:
        notes.append(f"the ceiling needs a snapshot of the settings: {SNAPSHOT}; then --settings settings.csv")
    else:
        notes.append(
            f"at worst {size_text(ceiling)}: compare with the memory of the host (free -h), which the log does not say"
        )
    if likely is not None:
        notes.append(
            f"with at most {concurrency['active_max']:.1f} executions at once, as seen, {size_text(likely)} would do"
        )
    peak, limit = concurrency.get("sessions_max"), known.get("max_connections")
    if peak is not None and limit is not None and limit.number:
        notes.append(f"at most {peak:.0f} of {limit.number:.0f} sessions were open at once")
    if used.get("temp_files"):
        notes.append(
            f"{used['temp_files']:,} temporary files of {size_text(used['temp_bytes'])} did not fit into work_mem; "
            "pgtrace query work_mem_needed has the queries"
        )
    for name, what in (("sort_max_bytes", "a sort"), ("hash_max_bytes", "a hash")):
        if used.get(name):
            notes.append(f"the most that {what} took in memory was {size_text(used[name])}")
    if used.get("resident_max_bytes"):
        notes.append(
            f"the largest process had {size_text(used['resident_max_bytes'])}, shared buffers that it touched included"
        )
    if used.get("out_of_memory"):
        notes.append(f"{used['out_of_memory']:,} errors for want of memory: lower work_mem or the number of sessions")
    return notes
