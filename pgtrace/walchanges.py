"""WAL records with the relation that they change: that of their first block, by name where a snapshot tells it."""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.units import Lsn

#: a source is of one server, so its name need not be compared; names join blocks, never records, which are more
VIEW = """
with
-- a record's first block is number 0; a few number theirs from 1
later as (
    select source_id, line_no, min(block_no) as block_no
    from wal_block
    where block_no > 0
    group by all
),
first_later as (
    select later.*
    from later
    anti join wal_block
        on
            later.source_id = wal_block.source_id and later.line_no = wal_block.line_no
            and wal_block.block_no = 0
),
first_block as (
    select server, source_id, line_no, lsn, database_oid, tablespace_oid, relfilenode, fork
    from wal_block
    where block_no = 0
    union all
    select server, source_id, line_no, lsn, database_oid, tablespace_oid, relfilenode, fork
    from wal_block
    semi join first_later using (source_id, line_no, block_no)
    where block_no > 0
),
named as (
    select
        first_block.*, relation.database_name, relation.schema_name, relation.relation_name, relation.relation_kind,
        coalesce(relation.index_of, relation.toast_of) as part_of
    from first_block
    left join relation
        on
            first_block.server = relation.server and first_block.database_oid = relation.database_oid
            and first_block.tablespace_oid = relation.tablespace_oid
            and first_block.relfilenode = relation.relfilenode
            and (relation.valid_from_lsn is null or first_block.lsn >= relation.valid_from_lsn)
            and (relation.valid_to_lsn is null or first_block.lsn < relation.valid_to_lsn)
)
select
    record.server, record.source_id, record.line_no, record.lsn, record.xid, record.time_after, record.time_before,
    record.resource_manager, record.record_type, record.record_bytes, record.fpi_bytes, record.total_bytes,
    record.fpi_count, record.block_count,
    named.database_oid, named.tablespace_oid, named.relfilenode, named.fork,
    named.database_name, named.schema_name, named.relation_name, named.relation_kind, named.part_of
from wal_record as record
left join named on record.source_id = named.source_id and record.line_no = named.line_no
"""

TABLE = Table(
    name="wal_change",
    one_row_per="WAL record, with the relation of its first block",
    columns={
        **ORIGIN,
        "lsn": Column("position of the record", Lsn),
        "xid": Column("transaction that wrote it; null: none", int),
        "time_after": Column("it was written at or after this time", datetime),
        "time_before": Column("it was written at or before this time", datetime),
        "resource_manager": Column("resource manager"),
        "record_type": Column("what it does"),
        "record_bytes": Column("size without full page images", int, "B"),
        "fpi_bytes": Column("size of its full page images", int, "B"),
        "total_bytes": Column("size", int, "B"),
        "fpi_count": Column("full page images", int),
        "block_count": Column("block references; nearly always of one relation", int),
        "database_oid": Column("database; 0: shared by all. Null, as what follows: it refers to no block", int),
        "tablespace_oid": Column("tablespace", int),
        "relfilenode": Column("file of the relation", int),
        "fork": Column("main, fsm (free space), vm (visibility), init (of an unlogged relation)"),
        "database_name": Column("database; null, as what follows: no snapshot tells (see table relation)"),
        "schema_name": Column("schema"),
        "relation_name": Column("relation"),
        "relation_kind": Column("table, index, sequence, toast table or materialized view"),
        "part_of": Column("of an index or a toast table: its table, with the schema"),
    },
    time="time_after",
)
