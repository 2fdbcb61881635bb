"""Autovacuum runs (log_autovacuum_min_duration; heap_vacuum_rel in vacuumlazy.c, from 12's lazy_vacuum_rel).

The message ends the run; when it began follows from the elapsed time, which is rounded to 10 ms.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, Column

if TYPE_CHECKING:
    import polars as pl


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    # one line for each index that was vacuumed, from version 14
    lines = pl.col("message").str.extract_all(r'\nindex "[^\n]*": pages: ')
    names = lines.list.eval(pl.element().str.slice(8).str.strip_suffix('": pages: '))
    return {
        "started_at": pl.col("logged_at") - pl.duration(microseconds=pl.col("elapsed_s") * 1_000_000),
        "indexes": pl.when(names.list.len() > 0).then(names),
    }


MESSAGE = MessageType(
    table="autovacuum",
    one_row_per="vacuum by autovacuum",
    process="autovacuum worker",
    starts_with=("automatic vacuum ", "automatic aggressive vacuum "),
    patterns=(
        # a relation may have dots in its name, a schema or database hardly
        r'^automatic (?:aggressive )?vacuum (?:to prevent wraparound )?of table "(?P<database_name>[^.]*)\.(?P<schema_name>[^.]*)\.(?P<relation_name>.*)": index scans: (?P<index_scans>\d+)',  # noqa: E501
        r"^automatic (?P<is_aggressive>aggressive) vacuum",
        r"^automatic (?:aggressive )?vacuum (?P<is_wraparound>to prevent wraparound)",
        r"\npages: (?P<pages_removed>\d+) removed, (?P<pages_remain>\d+) remain",
        r"remain, (?P<pages_skipped_pins>\d+) skipped due to pins, (?P<pages_skipped_frozen>\d+) skipped frozen",
        r"remain, (?P<pages_scanned>\d+) scanned \((?P<pages_scanned_pct>[\d.]+)% of total\)",  # 15
        r"of total\), (?P<pages_eagerly_scanned>\d+) eagerly scanned",  # 18
        r"\ntuples: (?P<tuples_removed>\d+) removed, (?P<tuples_remain>\d+) remain, (?P<tuples_dead_not_removable>\d+) are dead but not yet removable",  # noqa: E501
        r"removable, oldest xmin: (?P<oldest_xmin>\d+)",  # 12-14
        r"\ntuples missed: (?P<missed_dead_tuples>\d+) dead from (?P<missed_dead_pages>\d+) pages",  # 15
        r"\nremovable cutoff: (?P<removable_cutoff>\d+), which was (?P<removable_cutoff_age>-?\d+) XIDs old",  # 15
        r"\nnew relfrozenxid: (?P<new_relfrozenxid>\d+), which is (?P<new_relfrozenxid_ahead>-?\d+) XIDs ahead",  # 15
        r"\nnew relminmxid: (?P<new_relminmxid>\d+), which is (?P<new_relminmxid_ahead>-?\d+) MXIDs ahead",  # 15
        r"\nfrozen: (?P<frozen_pages>\d+) pages from table \((?P<frozen_pages_pct>[\d.]+)% of total\) had (?P<frozen_tuples>\d+) tuples frozen",  # noqa: E501  16
        r"\nvisibility map: (?P<vm_all_visible>\d+) pages set all-visible, (?P<vm_all_frozen>\d+) pages set all-frozen \((?P<vm_all_frozen_were_visible>\d+) were all-visible\)",  # noqa: E501  18
        r"\nindex scan (?P<index_scan>needed|not needed|bypassed by failsafe|bypassed): (?P<lpdead_pages>\d+) pages from table \((?P<lpdead_pages_pct>[\d.]+)% of total\) (?:had|have) (?P<lpdead_items>\d+) dead item identifiers",  # noqa: E501  14
        r"\ndelay time: (?P<delay_ms>[\d.]+) ms",  # 18, track_cost_delay_timing
        r"\nI/O timings: read: (?P<io_read_ms>[\d.]+) ms, write: (?P<io_write_ms>[\d.]+) ms",  # 14, track_io_timing
        r"\navg read rate: (?P<read_mb_s>[\d.]+) MB/s, avg write rate: (?P<write_mb_s>[\d.]+) MB/s",
        r"\nbuffer usage: (?P<buffer_hits>\d+) hits, (?P<buffer_reads>\d+) (?:misses|reads), (?P<buffer_dirtied>\d+) dirtied",  # noqa: E501
        r"\nWAL usage: (?P<wal_records>\d+) records, (?P<wal_fpi>\d+) full page images, (?P<wal_bytes>\d+) bytes",  # 13
        r"bytes, (?P<wal_buffers_full>\d+) buffers full",  # 18
        r"\nsystem usage: CPU: user: (?P<cpu_user_s>[\d.]+) s, system: (?P<cpu_system_s>[\d.]+) s, elapsed: (?P<elapsed_s>[\d.]+) s",  # noqa: E501
    ),
    columns={
        "database_name": Column("database"),
        "schema_name": Column("schema"),
        "relation_name": Column("table"),
        "is_aggressive": Column("whether it had to look at every page that is not frozen", bool),
        "is_wraparound": Column("whether it was to prevent transaction id wraparound", bool),
        "started_at": Column("when it began: logged_at less elapsed_s", datetime),
        "elapsed_s": Column("how long it took", float, "s"),
        "index_scans": Column("passes over the indexes; more than one: maintenance memory was too small", int),
        "pages_removed": Column("pages truncated", int),
        "pages_remain": Column("pages left", int),
        "pages_skipped_pins": Column("pages skipped because others used them, to version 14", int),
        "pages_skipped_frozen": Column("pages skipped because all frozen, to version 14", int),
        "pages_scanned": Column("pages looked at, from version 15", int),
        "pages_scanned_pct": Column("share of the pages looked at", float, "%"),
        "pages_eagerly_scanned": Column("all-visible pages looked at in order to freeze, from version 18", int),
        "tuples_removed": Column("dead rows removed", int),
        "tuples_remain": Column("rows left", int),
        "tuples_dead_not_removable": Column("dead rows that someone may still see", int),
        "oldest_xmin": Column("oldest transaction that may still see dead rows, to version 14", int),
        "missed_dead_tuples": Column("dead rows missed because others used the page, from version 15", int),
        "missed_dead_pages": Column("pages those were on", int),
        "removable_cutoff": Column("oldest transaction that may still see dead rows, from version 15", int),
        "removable_cutoff_age": Column("its age at the end", int, "transactions"),
        "new_relfrozenxid": Column("new relfrozenxid", int),
        "new_relfrozenxid_ahead": Column("how far that is ahead", int, "transactions"),
        "new_relminmxid": Column("new relminmxid", int),
        "new_relminmxid_ahead": Column("how far that is ahead", int, "multixacts"),
        "frozen_pages": Column("pages with rows frozen, from version 16", int),
        "frozen_pages_pct": Column("their share", float, "%"),
        "frozen_tuples": Column("rows frozen", int),
        "vm_all_visible": Column("pages set all-visible, from version 18", int),
        "vm_all_frozen": Column("pages set all-frozen", int),
        "vm_all_frozen_were_visible": Column("of them all-visible before", int),
        "index_scan": Column("needed, not needed, bypassed, bypassed by failsafe; from version 14"),
        "lpdead_pages": Column("pages with dead item identifiers", int),
        "lpdead_pages_pct": Column("their share", float, "%"),
        "lpdead_items": Column("dead item identifiers", int),
        "indexes": Column("indexes vacuumed, from version 14", list[str]),
        "delay_ms": Column("time asleep by cost-based delay, from version 18", float, "ms"),
        "io_read_ms": Column("time reading (track_io_timing)", float, "ms"),
        "io_write_ms": Column("time writing", float, "ms"),
        "read_mb_s": Column("average read rate", float, "MB/s"),
        "write_mb_s": Column("average write rate", float, "MB/s"),
        "buffer_hits": Column("buffers found in shared_buffers", int),
        "buffer_reads": Column("buffers read (misses before version 18)", int),
        "buffer_dirtied": Column("buffers dirtied", int),
        "wal_records": Column("WAL records written, from version 13", int),
        "wal_fpi": Column("full page images among them", int),
        "wal_bytes": Column("WAL written", int, "bytes"),
        "wal_buffers_full": Column("times the WAL buffers were full, from version 18", int),
        "cpu_user_s": Column("CPU, user", float, "s"),
        "cpu_system_s": Column("CPU, system", float, "s"),
    },
    keeps=PROCESS,
    derive=_derive,
)
