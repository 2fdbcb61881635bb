"""Settings of checkpoints and WAL that the log argues against."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from pgtrace.analysis import Causes
from pgtrace.doctor.answer import Advice, alter_system
from pgtrace.doctor.scope import Scope, within
from pgtrace.units import size_text

#: checkpoints brought about by WAL: so many, and such a share
_FEWEST_REQUESTED, _REQUESTED_PCT = 3, 30.0
#: what a checkpoint should have, where checkpoint_timeout is not known
_TIMEOUT_S = 300.0
#: timed checkpoints closer than this are close
_CLOSE_S = 600.0
#: spread over less than this share of the time, writing comes in bursts
_SPREAD = 0.7
#: full page images that are so much of the WAL, where so much of it was read
_FPI_PCT, _LEAST_WAL = 40.0, 16 * 1024**2


def checkpoint_advice(scope: Scope, causes: Causes) -> list[Advice]:
    """What the checkpoints and the WAL of this server say."""
    row = scope.query_row("checkpoint_pressure")
    if not row:
        return [advice for advice in (_wal_compression(scope),) if advice is not None]
    found = [
        _max_wal_size(scope, row),
        _timeout(scope, row, causes),
        _target(scope, row),
        _warning(scope, row),
        _wal_compression(scope),
    ]
    return [advice for advice in found if advice is not None]


def _max_wal_size(scope: Scope, row: Mapping[str, Any]) -> Advice | None:
    requested = row["requested"] >= _FEWEST_REQUESTED and row["requested_pct"] >= _REQUESTED_PCT
    if not requested and not row["too_frequent"]:
        return None
    evidence = f"{row['requested']:,} of {row['requested'] + row['timed']:,} checkpoints were brought about by WAL"
    if row["too_frequent"]:
        evidence += f"; the server complained {row['too_frequent']:,} times that they are too frequent"
    if row["p50_gap_s"]:
        evidence += f"; one every {row['p50_gap_s']:.0f} s (median)"
    timeout = scope.known.get("checkpoint_timeout")
    timeout_s = timeout.ms / 1000 if timeout is not None and timeout.ms else _TIMEOUT_S
    # of a log that is shorter, nobody knows that it went on like that
    rate = (row["wal_bytes"] or 0) / max(scope.span_s, timeout_s)
    # a checkpoint begins at max_wal_size / (1 + checkpoint_completion_target), and a quarter is to spare
    wanted = rate * timeout_s * 1.9 * 1.25
    now = scope.known.get("max_wal_size")
    least = 2 * (now.bytes if now is not None and now.bytes else 2 * (row["p50_distance_bytes"] or 512 * 1024**2))
    megabytes = max(wanted, least) / 1024**2
    size = (
        f"{ceil(megabytes / 1024)}GB" if megabytes > 512 else f"{max(256, 2 ** (ceil(megabytes) - 1).bit_length())}MB"
    )
    note = f"as much disk in pg_wal, and longer recovery; {size_text(rate)}/s of WAL here"
    return Advice(
        "max_wal_size",
        scope.known.text("max_wal_size"),
        size,
        evidence,
        (alter_system("max_wal_size", size),),
        note=note,
    )


def _warning(scope: Scope, row: Mapping[str, Any]) -> Advice | None:
    """The complaint is missing, though there was reason for it."""
    if row["closer_than_30s"] < _FEWEST_REQUESTED or row["too_frequent"]:
        return None
    evidence = f"{row['closer_than_30s']:,} checkpoints by WAL within 30 s of the one before, and no complaint of that"
    return Advice(
        "checkpoint_warning",
        scope.known.text("checkpoint_warning"),
        "30s",
        evidence,
        (alter_system("checkpoint_warning", "30s"),),
    )


def _target(scope: Scope, row: Mapping[str, Any]) -> Advice | None:
    now = scope.known.get("checkpoint_completion_target")
    if now is not None and now.number is not None:
        if now.number >= _SPREAD:
            return None
        evidence = f"it is {now.text} ({now.basis}), so that checkpoints write in bursts"
    elif row["write_share"] is not None and row["write_share"] < _SPREAD and row["timed"] >= _FEWEST_REQUESTED:
        evidence = (
            f"timed checkpoints wrote for {100 * row['write_share']:.0f} % of the time until the next one (median)"
        )
    else:
        return None
    if not row["buffers_written"]:
        return None
    return Advice(
        "checkpoint_completion_target",
        None if now is None else now.text,
        "0.9",
        evidence,
        (alter_system("checkpoint_completion_target", "0.9"),),
    )


def _timeout(scope: Scope, row: Mapping[str, Any], causes: Causes) -> Advice | None:
    """Timed checkpoints that are close together, and queries that are slow with them or WAL that is mostly images."""
    if row["timed"] < 8 or row["timed"] < row["requested"] or (row["p50_gap_s"] or _CLOSE_S) >= _CLOSE_S:
        return None
    told = [
        cause
        for cause in causes.blamed.iter_rows(named=True)
        if cause["process"] == "checkpointer" and cause["certainty"] in ("strong", "moderate")
    ]
    images = _images(scope)
    if told:
        reason = f"slow executions are associated with them ({told[0]['excess_s']:.1f} s)"
    elif images is not None and images["fpi_pct"] >= _FPI_PCT:
        reason = f"{images['fpi_pct']:.0f} % of the WAL is full page images, which follow each checkpoint"
    else:
        return None
    return Advice(
        "checkpoint_timeout",
        scope.known.text("checkpoint_timeout"),
        "15min",
        f"a timed checkpoint every {row['p50_gap_s']:.0f} s, and {reason}",
        (alter_system("checkpoint_timeout", "15min"),),
        note="max_wal_size must hold the WAL of that time; recovery after a crash takes longer",
    )


def _images(scope: Scope) -> dict[str, Any] | None:
    row = scope.row(
        f"""
        select cast(sum(bytes) as double) as bytes, 100 * sum(fpi_bytes) / sum(bytes) as fpi_pct
        from wal_second
        where {within("second")}
        """
    )
    return row if (row["bytes"] or 0) >= _LEAST_WAL else None


def _wal_compression(scope: Scope) -> Advice | None:
    images = _images(scope)
    now = scope.known.get("wal_compression")
    if images is None or images["fpi_pct"] < _FPI_PCT or (now is not None and now.text != "off"):
        return None
    value = "lz4" if scope.known.since_version(15) else "on"
    return Advice(
        "wal_compression",
        None if now is None else now.text,
        value,
        f"{images['fpi_pct']:.0f} % of {size_text(images['bytes'])} of WAL is full page images",
        (alter_system("wal_compression", value),),
        note="less I/O for some CPU; lz4 needs a server built with it"
        if value == "lz4"
        else "less I/O for some CPU; if it is on already, more WAL between checkpoints is what helps",
    )
