"""Which relation a file belongs to: snapshots of pg_class as CSV, by the query in docs/snapshots.md.

WAL names files (tablespace, database, relfilenode), no relations. A file belongs to another relation only after the
first one was dropped or rewritten and the number came round again, so a snapshot says much about times before and
after it. That is view ``relation``; the rows as they came are ``relation_snapshot``.

Limitations: relations that came and went between two snapshots are in none, nor are temporary ones, which write no WAL.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from pgtrace.schema import ORIGIN, Column, Table
from pgtrace.snapshots import Snapshot, as_format
from pgtrace.units import Lsn

#: what the server calls the kinds of relations that have files
_KINDS = {"r": "table", "i": "index", "S": "sequence", "t": "toast table", "m": "materialized view"}

_RELATION = {
    "database_oid": Column("database; 0: shared by all", int),
    "database_name": Column("database; null for relations that all share"),
    "tablespace_oid": Column("tablespace, also where it is the database's default one", int),
    "relfilenode": Column("file of the relation: its name there, not its OID", int),
    "relation_oid": Column("OID of the relation", int),
    "schema_name": Column("schema"),
    "relation_name": Column("relation"),
    "relation_kind": Column("table, index, sequence, toast table or materialized view"),
    "index_of": Column("of an index: its table, with the schema"),
    "toast_of": Column("of a toast table and its index: the table whose long values it holds, with the schema"),
    "seen_from_lsn": Column("position in the WAL when it was first seen to have the file", Lsn),
    "seen_to_lsn": Column("position in the WAL when it was last seen to have the file", Lsn),
    "seen_from_at": Column("when it was first seen to have the file", datetime),
    "seen_to_at": Column("when it was last seen to have the file", datetime),
}

RELATION_SNAPSHOT = Table(
    name="relation_snapshot",
    one_row_per="relation with a file, in each snapshot that was supplied",
    columns={
        **ORIGIN,
        "line_count": Column("lines of the file that the row takes, with the header before it", int),
        "snapshot_at": Column("when the snapshot was taken", datetime),
        **_RELATION,
    },
    time="snapshot_at",
)

RELATION = Table(
    name="relation",
    one_row_per="relation and file, for as long as the file was its",
    columns={
        **ORIGIN,
        **_RELATION,
        "snapshots": Column("snapshots that say so", int),
        "valid_from_lsn": Column(
            "the file is taken for this relation's from here on; null: from the beginning, as no snapshot before "
            "gives it to another",
            Lsn,
        ),
        "valid_to_lsn": Column(
            "up to, not including, here, where a snapshot gives the file to another relation or under another name; "
            "null: to the end",
            Lsn,
        ),
        "valid_from_at": Column("the same as a time", datetime),
        "valid_to_at": Column("the same as a time", datetime),
    },
    stored=ORIGIN,  # it has no rows of its own
    view="""
    with
    compared as (
        select *,
            coalesce(
                (relation_oid, schema_name, relation_name)
                is distinct from lag((relation_oid, schema_name, relation_name)) over of_file, true
            ) as is_new
        from {relation_snapshot}
        window of_file as (
            partition by server, database_oid, tablespace_oid, relfilenode
            order by seen_from_at, seen_from_lsn, source_id, line_no
        )
    ),
    numbered as (
        select *,
            count_if(is_new) over (
                partition by server, database_oid, tablespace_oid, relfilenode
                order by seen_from_at, seen_from_lsn, source_id, line_no
                rows unbounded preceding
            ) as period
        from compared
    ),
    periods as (
        select server, database_oid, tablespace_oid, relfilenode, relation_oid, schema_name, relation_name, period,
            first(source_id order by seen_from_at, seen_from_lsn, source_id, line_no) as source_id,
            first(line_no order by seen_from_at, seen_from_lsn, source_id, line_no) as line_no,
            last(database_name order by seen_to_at, source_id, line_no) as database_name,
            last(relation_kind order by seen_to_at, source_id, line_no) as relation_kind,
            last(index_of order by seen_to_at, source_id, line_no) as index_of,
            last(toast_of order by seen_to_at, source_id, line_no) as toast_of,
            min(seen_from_lsn) as seen_from_lsn,
            max(seen_to_lsn) as seen_to_lsn,
            min(seen_from_at) as seen_from_at,
            max(seen_to_at) as seen_to_at,
            count(*) as snapshots
        from numbered
        group by server, database_oid, tablespace_oid, relfilenode, relation_oid, schema_name, relation_name, period
    )
    select *,
        case when period > 1 then seen_from_lsn end as valid_from_lsn,
        case when period > 1 then seen_from_at end as valid_from_at,
        lead(seen_from_lsn) over next_period as valid_to_lsn,
        lead(seen_from_at) over next_period as valid_to_at
    from periods
    window next_period as (
        partition by server, database_oid, tablespace_oid, relfilenode order by period
    )
    """,
    view_reads=("relation_snapshot",),
)


def _complete(rows: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """A snapshot sees its relations at one time; a summary of several says the first and the last."""
    index_of, schema = pl.col("index_of"), pl.col("schema_name") + "."
    return rows.with_columns(
        database_name=pl.when(pl.col("database_oid") != 0).then("database_name"),
        snapshot_at=pl.coalesce("snapshot_at", "seen_to_at"),
        seen_from_at=pl.coalesce("seen_from_at", "snapshot_at"),
        seen_to_at=pl.coalesce("seen_to_at", "snapshot_at"),
        seen_from_lsn=pl.coalesce("seen_from_lsn", "snapshot_lsn"),
        seen_to_lsn=pl.coalesce("seen_to_lsn", "snapshot_lsn"),
        relation_kind=pl.col("relation_kind").replace(_KINDS),
        # an index is in the schema of its table
        index_of=pl.when(index_of.str.starts_with(schema)).then(index_of).otherwise(schema + index_of),
    )


FORMAT = as_format(
    "relations",
    6,
    Snapshot(
        table=RELATION_SNAPSHOT,
        names={
            "datname": "database_name",
            "rel_oid": "relation_oid",
            "schema": "schema_name",
            "relname": "relation_name",
            "relkind": "relation_kind",
            "first_seen_ts": "seen_from_at",
            "first_seen_lsn": "seen_from_lsn",
            "last_seen_ts": "seen_to_at",
            "last_seen_lsn": "seen_to_lsn",
        },
        needed=frozenset(
            ("database_oid", "tablespace_oid", "relfilenode", "relation_oid", "schema_name", "relation_name")
        ),
        filled=("database_oid", "tablespace_oid", "relfilenode", "relation_oid", "schema_name", "relation_name"),
        complete=_complete,
        also={"snapshot_lsn": Column("position in the WAL when the snapshot was taken", Lsn)},
    ),
    RELATION,
)
