"""The tables that WAL fills, whether it comes as the text of ``pg_waldump`` or as segments."""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.units import Lsn

#: what a record has in common with each of its block references
_SHARED = {
    "lsn": Column("position of the record", Lsn),
    "xid": Column("transaction that wrote it; null: none, as for vacuum and checkpoints", int),
    "resource_manager": Column("Heap, Btree, XLOG, Transaction, …; custom128 and up belong to extensions"),
    "record_type": Column("what it does, within its resource manager"),
    "time_after": Column(
        "it was written at or after this time: of the last record before it that says one, its own where it does",
        datetime,
    ),
}

WAL_RECORD = Table(
    name="wal_record",
    one_row_per="WAL record",
    columns={
        **ORIGIN,
        "line_count": Column("lines of the text that the record takes", int),
        "lsn": _SHARED["lsn"],
        "prev_lsn": Column("position of the record before it; null: there is none", Lsn),
        "end_lsn": Column("where the record after it begins; null: that one is not in the same text", Lsn),
        "timeline": Column("timeline; null: the text does not say", int),
        "xid": _SHARED["xid"],
        "resource_manager": _SHARED["resource_manager"],
        "record_type": _SHARED["record_type"],
        "record_bytes": Column("size without full page images", int, "B"),
        "fpi_bytes": Column("size of its full page images", int, "B"),
        "total_bytes": Column("size, without padding and page headers", int, "B"),
        "is_commit": Column("whether a transaction is committed by it, also a prepared one", bool),
        "is_abort": Column("whether a transaction is rolled back by it, also a prepared one", bool),
        "committed_at": Column("time that a COMMIT, ABORT or PREPARE record says; null: it says none", datetime),
        "gid": Column("name of the transaction that it prepares"),
        "prepared_xid": Column("prepared transaction that it commits or rolls back", int),
        "time_after": _SHARED["time_after"],
        "time_before": Column(
            "it was written at or before this time: of the first record behind it that says one", datetime
        ),
        "time_basis": Column(
            "where the times are from: commit (its own), own time (end of recovery), between commits, after a commit, "
            "before a commit; null: no record near it says a time"
        ),
        "description": Column("what pg_waldump prints of it, without the block references"),
        "block_count": Column("block references", int),
        "fpi_count": Column("block references with a full page image", int),
    },
    time="time_after",
)

WAL_BLOCK = Table(
    name="wal_block",
    one_row_per="block that a WAL record refers to",
    columns={
        **ORIGIN,
        **_SHARED,
        "block_no": Column("number of the reference within the record, from 0", int),
        "tablespace_oid": Column("tablespace", int),
        "database_oid": Column("database; 0: shared by all", int),
        "relfilenode": Column("file of the relation: its name there, not its OID", int),
        "fork": Column("main, fsm (free space), vm (visibility), init (of an unlogged relation)"),
        "block": Column("block of that fork", int),
        "is_full_page": Column("whether the record holds an image of the page", bool),
        "is_fpi_for_verification": Column(
            "whether that image is only there to check recovery (wal_consistency_checking)", bool
        ),
        "hole_offset": Column("where the hole in the page begins, that the image leaves out; only with -b", int),
        "hole_length": Column("length of that hole; only with -b", int, "B"),
        "compression_saved_bytes": Column("what compressing the image saved (wal_compression); only with -b", int, "B"),
        "compression_method": Column("pglz, lz4 or zstd; only with -b, from version 15"),
    },
    time="time_after",
)
