"""What is known of a server's settings: the newest snapshot, the changes that the log tells of, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pgtrace.errors import UsageError
from pgtrace.units import size_parse

#: what a number without a unit means
_BASE_BYTES = {
    **dict.fromkeys(["shared_buffers", "wal_buffers", "temp_buffers"], 8192),
    **dict.fromkeys(["work_mem", "maintenance_work_mem", "autovacuum_work_mem", "log_temp_files"], 1024),
    **dict.fromkeys(["max_wal_size", "min_wal_size", "wal_keep_size", "max_slot_wal_keep_size"], 1024**2),
}
_BASE_MS = {
    **dict.fromkeys(["checkpoint_timeout", "checkpoint_warning"], 1000.0),
    "autovacuum_naptime": 1000.0,
    **dict.fromkeys(
        [
            "log_min_duration_statement",
            "log_min_duration_sample",
            "log_autovacuum_min_duration",
            "auto_explain.log_min_duration",
            "deadlock_timeout",
            "autovacuum_vacuum_cost_delay",
            "wal_sender_timeout",
            "wal_receiver_timeout",
            "max_standby_streaming_delay",
            "idle_in_transaction_session_timeout",
            "statement_timeout",
        ],
        1.0,
    ),
}
_IN_MS = {"us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value: as SHOW prints it or as the file has it, and as bytes, milliseconds or number if it is one.

    ``basis`` says how it is known. Off and automatic (-1) are a number and neither bytes nor milliseconds.
    """

    text: str
    basis: str
    bytes: int | None = None
    ms: float | None = None
    number: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether it is a switch that is on."""
        return self.text.lower() in ("on", "true", "yes", "1")


@dataclass(frozen=True, slots=True)
class Known:
    """Settings by name; what is missing is not known. ``version`` is the major version, None: not known."""

    values: Mapping[str, Value]
    version: int | None

    def get(self, name: str) -> Value | None:
        """The value of a setting, None where it is not known."""
        return self.values.get(name)

    def text(self, name: str) -> str | None:
        """Its text."""
        value = self.values.get(name)
        return None if value is None else value.text

    def since_version(self, version: int) -> bool:
        """Whether the server is known to be of this version or later."""
        return self.version is not None and self.version >= version


def known_settings(snapshots: pl.DataFrame, changes: list[dict[str, Any]], version: str | None) -> Known:
    """Put together rows of table ``setting`` (of several snapshots, the newest counts) and rows of ``server_event``.

    A change counts where it is later than the newest snapshot; a snapshot that does not say when it was taken is newer
    than all of them.
    """
    values: dict[str, Value] = {}
    taken: datetime | None = None
    if snapshots.height:
        if snapshots["snapshot_at"].null_count() < snapshots.height:
            latest = snapshots["snapshot_at"].max()
            assert isinstance(latest, datetime)
            newest, taken = snapshots.filter(pl.col("snapshot_at") == latest), latest
        else:
            newest, taken = snapshots, datetime.max.replace(tzinfo=UTC)
        basis = "snapshot" if taken.year == datetime.max.year else f"snapshot of {taken:%Y-%m-%d %H:%M:%S}"
        values = {row["name"]: _of_row(row, basis) for row in newest.iter_rows(named=True)}
    for change in changes:
        name, at = change["parameter"], change["logged_at"]
        if name is None or (taken is not None and at <= taken):
            continue
        if change["event"] == "parameter_reset":
            values.pop(name, None)
        elif change["value"] is not None:
            values[name] = _of_text(name, change["value"], f"changed {at:%Y-%m-%d %H:%M:%S}")
    said = values["server_version"].text if "server_version" in values else version
    major = re.match(r"\d+", said or "")
    return Known(values, int(major[0]) if major else None)


def _of_row(row: dict[str, Any], basis: str) -> Value:
    return Value(row["value"] or "", basis, row["value_bytes"], row["value_ms"], row["value_number"])


def _of_text(name: str, text: str, basis: str) -> Value:
    """A value as the configuration file has it."""
    size: int | None = None
    duration: float | None = None
    try:
        number: float | None = float(text)
    except ValueError:
        number = None
    if name in _BASE_BYTES:
        try:
            size = int(number * _BASE_BYTES[name]) if number is not None else size_parse(text)
        except UsageError:
            size = None
    elif name in _BASE_MS and (found := _DURATION.fullmatch(text.strip())):
        duration = float(found[1]) * (_IN_MS[found[2]] if found[2] else _BASE_MS[name])
        number = duration if number is None else number
    return Value(
        text,
        basis,
        size if size is not None and size >= 0 else None,
        duration if duration is not None and duration >= 0 else None,
        number,
    )
