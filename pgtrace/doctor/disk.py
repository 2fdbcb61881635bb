"""Disk I/O spiked? Bytes that processes say they read and wrote, slow fsyncs, and slow reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from pgtrace.doctor.answer import CANNOT_TELL, NO, YES, Answer, Evidence
from pgtrace.doctor.logged import Logged
from pgtrace.doctor.scope import Scope, within
from pgtrace.doctor.spikes import Bins, Spikes, Values, find_spikes, stretch
from pgtrace.units import size_text

_KEY, _QUESTION = "disk_io_spiked", "Disk I/O spiked?"
#: so much more a second than usual, on average over a step, is a spike, and so much more in all of them
_LEAST_BYTES, _LEAST_AMOUNT, _TIMES = 16.0 * 1024**2, 256.0 * 1024**2, 3.0
#: an fsync of one file that takes so long means that the disk does not keep up
_SLOW_SYNC_S = 1.0
#: a page read that takes so long on average is slow, where enough of them were timed
_SLOW_READ_MS, _FEWEST_READS = 2.0, 1000
_MOST_SHOWN = 4
_NEXT = {
    "checkpoint": "see the settings below for checkpoints; pgtrace query checkpoints has each one",
    "restartpoint": "see the settings below for checkpoints; pgtrace query checkpoints has each one",
    "temporary files": "pgtrace query work_mem_needed says how much memory each query would need",
    "vacuum": "pgtrace query autovacuum_runs has each run; its rate is set by autovacuum_vacuum_cost_limit",
    "analyze": "pgtrace query autovacuum_runs has each run",
    "WAL": "pgtrace query wal_bursts, wal_by_relation and wal_by_process say what wrote it",
    "statements": "pgtrace query buffer_usage names the queries that read most",
    "fsync": "look at the storage (iostat -x 1): latency of writes, burst credits, other tenants",
    "reads": "look at the storage (iostat -x 1): latency of reads; more shared_buffers if pages are read again",
}
_Item = tuple[str, str, Evidence]


def disk_io_spiked(scope: Scope, bins: Bins, timeline: list[dict[str, Any]], logged: Logged) -> Answer:
    """Answer from all that says how much it read and wrote, and how long that took."""
    evidence = [*_slow_syncs(scope), *_moved(bins, timeline), *_slow_reads(scope)]
    missing = tuple(
        setting
        for setting in ("log_checkpoints", "log_temp_files", "log_autovacuum_min_duration", "track_io_timing")
        if not logged.has(setting)
    )
    blind = missing if logged.has("auto_explain.log_buffers") else (*missing, "auto_explain.log_buffers")
    if evidence:
        process, kind, first = evidence[0]
        return Answer(
            _KEY,
            _QUESTION,
            YES,
            first.text,
            basis="measured",
            process=process,
            kind=kind,
            evidence=tuple(item for _, _, item in evidence[:_MOST_SHOWN]),
            next_step=_NEXT[kind],
            would_tell=blind,
        )
    if not logged.has("log_checkpoints"):
        return Answer(
            _KEY, _QUESTION, CANNOT_TELL, "checkpoints, who write most, are not in this log", would_tell=blind
        )
    spikes = _spikes(bins, timeline)
    text = f"at most {size_text(spikes.peak)}/s over {bins.step_s:g} s, of all that say what they read and write"
    numbers = {"bytes_per_s_max": spikes.peak, "usual_bytes_per_s": spikes.usual, "step_s": bins.step_s}
    reads = "" if logged.has("auto_explain.log_buffers") else "; what queries read is not logged"
    return Answer(
        _KEY, _QUESTION, NO, text + reads, basis="measured", evidence=(Evidence(text, numbers),), would_tell=blind
    )


def _bytes(bins: Bins, rows: list[dict[str, Any]]) -> Values:
    return bins.summed(rows, "read_bytes") + bins.summed(rows, "written_bytes")


def _spikes(bins: Bins, rows: list[dict[str, Any]]) -> Spikes:
    return find_spikes(_bytes(bins, rows), bins, least=_LEAST_BYTES, times=_TIMES, amount=_LEAST_AMOUNT)


def _moved(bins: Bins, timeline: list[dict[str, Any]]) -> list[_Item]:
    """What each process did in the bins in which all of them together did more than usual; most first."""
    spikes = _spikes(bins, timeline)
    found: list[tuple[float, _Item]] = []
    for process, kind in sorted({(row["process"], row["what"]) for row in timeline}) if spikes.any else ():
        own = _bytes(bins, [row for row in timeline if (row["process"], row["what"]) == (process, kind)])
        moved = float(own[spikes.mask].sum()) * bins.step_s
        place = int(np.argmax(np.where(spikes.mask, own, -1.0)))
        text = (
            f"{process}, {kind}: {size_text(float(own[place]))}/s at {bins.time(place):%Y-%m-%d %H:%M:%S}, usually "
            f"{size_text(spikes.usual)}/s by all together; {size_text(moved)} in {stretch(spikes, bins)}"
        )
        if any(row["read_bytes"] for row in timeline if (row["process"], row["what"]) == (process, kind)):
            text += " (pages that it reads may come from the system's cache)"
        numbers: dict[str, float | int | str | None] = {
            "bytes_per_s_max": float(own[place]),
            "usual_bytes_per_s": spikes.usual,
            "bytes": moved,
            "at": f"{bins.time(place):%Y-%m-%dT%H:%M:%S}Z",
        }
        found.append((moved, (process, kind, Evidence(text, numbers))))
    highest = max((moved for moved, _ in found), default=0.0)
    return [item for moved, item in sorted(found, key=lambda pair: -pair[0]) if moved >= 0.05 * highest > 0]


def _slow_syncs(scope: Scope) -> list[_Item]:
    row = scope.row(
        f"""
        select max(longest_sync_s) as longest_sync_s,
            arg_max(completed_at, (longest_sync_s, completed_at)) filter (longest_sync_s is not null) as at,
            count(*) filter (longest_sync_s >= {_SLOW_SYNC_S}) as checkpoints
        from checkpoint
        where {within("started_at")}
        """
    )
    if (row["longest_sync_s"] or 0) < _SLOW_SYNC_S:
        return []
    text = (
        f"an fsync took {row['longest_sync_s']:.1f} s in the checkpoint that ended {row['at']:%Y-%m-%d %H:%M:%S}; "
        f"over {_SLOW_SYNC_S:g} s in {row['checkpoints']} checkpoint{'s' if row['checkpoints'] > 1 else ''}"
    )
    numbers = {"longest_sync_s": row["longest_sync_s"], "checkpoints": row["checkpoints"]}
    return [("checkpointer", "fsync", Evidence(text, numbers))]


def _slow_reads(scope: Scope) -> list[_Item]:
    """Pages whose reading was timed (track_io_timing), by plans and by autovacuum."""
    rows = scope.rows(
        f"""
        select 'backend' as process, fsum(io_read_ms) as read_ms, sum(shared_read_blocks) as pages
        from plan_node
        where io_read_ms is not null and parent_no is null and {within("logged_at")}
        union all
        select 'autovacuum worker', fsum(io_read_ms), sum(buffer_reads)
        from autovacuum
        where io_read_ms is not null and {within("logged_at")}
        """
    )
    found: list[_Item] = []
    for row in rows:
        pages = float(row["pages"] or 0)
        if pages >= _FEWEST_READS and row["read_ms"] / pages >= _SLOW_READ_MS:
            each = row["read_ms"] / pages
            text = f"{row['process']}: {pages:,.0f} pages were read at {each:.1f} ms each"
            numbers = {"read_ms_per_page": each, "pages": pages}
            found.append((row["process"], "reads", Evidence(text, numbers)))
    return found
