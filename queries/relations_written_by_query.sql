-- Which relations did each query write, and how much WAL was that?
--
-- Log and WAL meet by the transaction id, which csvlog and jsonlog have, and log_line_prefix with %x. A statement that
-- is a transaction by itself is logged when this is over, without the id; what runs in a transaction block has it. A
-- transaction's WAL counts for each of its queries that write; where a relation is known by name (pgtrace ingest
-- relations.csv) and some of them name it, only for these. So one record may count for several queries: those of
-- alone_bytes count for no other one.
--
-- Reads:
--   statement, record, query, wal_record, wal_change
-- Columns:
--   server          VARCHAR  server
--   query_text      VARCHAR  the SQL with $n in place of constants
--   relation        VARCHAR  database.schema.relation; null: no snapshot tells
--   part_of         VARCHAR  table of an index or a toast table, with the schema
--   transactions    BIGINT   transactions of the query that wrote to it
--   records         BIGINT   records whose first block is in it
--   total_bytes     BIGINT   their size
--   fpi_bytes       BIGINT   of it full page images
--   alone_bytes     BIGINT   size of those that count for no other query
--   database_oid    BIGINT   database; 0: shared by all
--   tablespace_oid  BIGINT   tablespace
--   relfilenode     BIGINT   file of the relation
--   fingerprint     VARCHAR  the shape of the query
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    rows to show
with
logged as (
    select distinct
        statement.server,
        record.xid,
        statement.fingerprint
    from statement
    inner join record
        on
            statement.server = record.server
            and statement.source_id = record.source_id
            and statement.line_no = record.line_no
    where
        record.xid > 0
        and statement.fingerprint is not null
        and ($server is null or statement.server = $server)
),

writers as (
    select
        logged.server,
        logged.xid,
        logged.fingerprint,
        query.relations_written as names
    from logged
    inner join query on logged.fingerprint = query.fingerprint
    -- a function that a SELECT calls may write, too
    qualify
        len(query.relations_written) > 0
        or not coalesce(
            bool_or(len(query.relations_written) > 0) over (partition by logged.server, logged.xid), false
        )
),

parents as (
    select
        server,
        coalesce(prepared_xid, xid) as xid,
        cast(
            unnest(
                string_split(regexp_extract(description, '; subxacts: ([0-9]+( [0-9]+)*)', 1), ' ')
            ) as bigint
        ) as sub_xid
    from wal_record
    where (is_commit or is_abort) and contains(description, '; subxacts: ')
),

changes as (
    select
        wal_change.server,
        coalesce(parents.xid, wal_change.xid) as xid,
        wal_change.database_oid,
        wal_change.tablespace_oid,
        wal_change.relfilenode,
        nullif(
            concat_ws('.', wal_change.database_name, wal_change.schema_name, wal_change.relation_name), ''
        ) as relation,
        wal_change.part_of,
        -- the table whose change this is, as SQL may name it
        coalesce(wal_change.part_of, wal_change.schema_name || '.' || wal_change.relation_name) as table_name,
        count(*) as records,
        sum(wal_change.total_bytes) as total_bytes,
        sum(wal_change.fpi_bytes) as fpi_bytes
    from wal_change
    left join parents on wal_change.server = parents.server and wal_change.xid = parents.sub_xid
    semi join writers on wal_change.server = writers.server and coalesce(parents.xid, wal_change.xid) = writers.xid
    where
        wal_change.relfilenode is not null
        and wal_change.xid is not null
        and ($since is null or wal_change.time_after >= $since)
        and ($until is null or wal_change.time_after < $until)
    group by all
),

matched as (
    select
        writers.fingerprint,
        changes.*,
        coalesce(
            list_contains(writers.names, changes.table_name)
            or list_contains(writers.names, substr(changes.table_name, strpos(changes.table_name, '.') + 1)),
            false
        ) as is_named
    from writers
    inner join changes on writers.server = changes.server and writers.xid = changes.xid
),

named as (
    select *
    from matched
    qualify
        is_named
        or not bool_or(is_named) over (partition by server, xid, database_oid, tablespace_oid, relfilenode, relation)
),

counted as (
    select
        *,
        count(*) over (partition by server, xid, database_oid, tablespace_oid, relfilenode, relation) as queries
    from named
),

by_query as (
    select
        fingerprint,
        server,
        relation,
        part_of,
        database_oid,
        tablespace_oid,
        relfilenode,
        count(*) as transactions,
        cast(sum(records) as bigint) as records,
        cast(sum(total_bytes) as bigint) as total_bytes,
        cast(sum(fpi_bytes) as bigint) as fpi_bytes,
        coalesce(cast(sum(total_bytes) filter (where queries = 1) as bigint), 0) as alone_bytes
    from counted
    group by fingerprint, server, relation, part_of, database_oid, tablespace_oid, relfilenode
)

select
    by_query.server,
    query.query_text,
    by_query.relation,
    by_query.part_of,
    by_query.transactions,
    by_query.records,
    by_query.total_bytes,
    by_query.fpi_bytes,
    by_query.alone_bytes,
    by_query.database_oid,
    by_query.tablespace_oid,
    by_query.relfilenode,
    by_query.fingerprint
from by_query
left join query on by_query.fingerprint = query.fingerprint
order by
    by_query.total_bytes desc,
    by_query.fingerprint asc,
    by_query.server asc,
    by_query.database_oid asc,
    by_query.tablespace_oid asc,
    by_query.relfilenode asc,
    by_query.relation asc,
    by_query.part_of asc
limit $top
