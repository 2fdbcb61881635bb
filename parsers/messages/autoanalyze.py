"""Analyze runs of autovacuum (log_autovacuum_min_duration; do_analyze_rel in analyze.c)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, Column

if TYPE_CHECKING:
    import polars as pl


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    return {"started_at": pl.col("logged_at") - pl.duration(microseconds=pl.col("elapsed_s") * 1_000_000)}


MESSAGE = MessageType(
    table="autoanalyze",
    one_row_per="analyze by autovacuum",
    process="autovacuum worker",
    starts_with=("automatic analyze ",),
    patterns=(
        r'^automatic analyze of table "(?P<database_name>[^.]*)\.(?P<schema_name>[^.]*)\.(?P<relation_name>[^\n]*)"(?: system usage:|\n|$)',  # noqa: E501
        # on the first line to version 13, on a line of its own from 14
        r"system usage: CPU: user: (?P<cpu_user_s>[\d.]+) s, system: (?P<cpu_system_s>[\d.]+) s, elapsed: (?P<elapsed_s>[\d.]+) s",  # noqa: E501
        r"\ndelay time: (?P<delay_ms>[\d.]+) ms",  # 18, track_cost_delay_timing
        r"\nI/O timings: read: (?P<io_read_ms>[\d.]+) ms, write: (?P<io_write_ms>[\d.]+) ms",  # 14, track_io_timing
        r"\navg read rate: (?P<read_mb_s>[\d.]+) MB/s, avg write rate: (?P<write_mb_s>[\d.]+) MB/s",  # 14
        r"\nbuffer usage: (?P<buffer_hits>\d+) hits, (?P<buffer_reads>\d+) (?:misses|reads), (?P<buffer_dirtied>\d+) dirtied",  # noqa: E501  14
        r"\nWAL usage: (?P<wal_records>\d+) records, (?P<wal_fpi>\d+) full page images, (?P<wal_bytes>\d+) bytes",  # 18
        r"bytes, (?P<wal_buffers_full>\d+) buffers full",  # 18
    ),
    columns={
        "database_name": Column("database"),
        "schema_name": Column("schema"),
        "relation_name": Column("table"),
        "started_at": Column("when it began: logged_at less elapsed_s", datetime),
        "elapsed_s": Column("how long it took", float, "s"),
        "delay_ms": Column("time asleep by cost-based delay, from version 18", float, "ms"),
        "io_read_ms": Column("time reading (track_io_timing), from version 14", float, "ms"),
        "io_write_ms": Column("time writing", float, "ms"),
        "read_mb_s": Column("average read rate, from version 14", float, "MB/s"),
        "write_mb_s": Column("average write rate", float, "MB/s"),
        "buffer_hits": Column("buffers found in shared_buffers, from version 14", int),
        "buffer_reads": Column("buffers read (misses before version 18)", int),
        "buffer_dirtied": Column("buffers dirtied", int),
        "wal_records": Column("WAL records written, from version 18", int),
        "wal_fpi": Column("full page images among them", int),
        "wal_bytes": Column("WAL written", int, "bytes"),
        "wal_buffers_full": Column("times the WAL buffers were full", int),
        "cpu_user_s": Column("CPU, user", float, "s"),
        "cpu_system_s": Column("CPU, system", float, "s"),
    },
    keeps=PROCESS,
    derive=_derive,
)
