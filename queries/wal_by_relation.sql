-- Which relations was the WAL written for?
--
-- A record's bytes, full page images included, count for the relation of its first block: a record says its size, not
-- that of each block; nearly all have one relation. Full page images are counted where their own block is. The row
-- without a file is of records that refer to no block, as commits. Names are from snapshots (pgtrace ingest
-- relations.csv); without one, the numbers stay.
--
-- Reads:
--   wal_change, wal_block, relation
-- Columns:
--   server          VARCHAR  server
--   relation        VARCHAR  database.schema.relation; null: no snapshot tells
--   relation_kind   VARCHAR  table, index, sequence, toast table or materialized view
--   part_of         VARCHAR  table of an index or a toast table, with the schema
--   fork            VARCHAR  main, fsm (free space), vm (visibility), init
--   records         BIGINT   records whose first block is in it
--   total_bytes     BIGINT   their size
--   total_pct       DOUBLE   share of the server's WAL
--   fpi_bytes       BIGINT   of it full page images
--   blocks          BIGINT   references to its blocks
--   full_pages      BIGINT   of these with a full page image
--   pages           BIGINT   different blocks that were imaged in full
--   database_oid    BIGINT   database; 0: shared by all
--   tablespace_oid  BIGINT   tablespace
--   relfilenode     BIGINT   file of the relation
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    rows to show
with
sizes as (
    select
        server,
        database_oid,
        tablespace_oid,
        relfilenode,
        fork,
        count(*) as records,
        cast(sum(total_bytes) as bigint) as total_bytes,
        cast(sum(fpi_bytes) as bigint) as fpi_bytes
    from wal_change
    where
        ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
    group by all
),

pages as (
    select
        server,
        database_oid,
        tablespace_oid,
        relfilenode,
        fork,
        count(*) as blocks,
        count(*) filter (where is_full_page) as full_pages,
        count(distinct block) filter (where is_full_page) as pages
    from wal_block
    where
        ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
    group by all
),

by_file as (
    select
        coalesce(sizes.server, pages.server) as server,
        coalesce(sizes.database_oid, pages.database_oid) as database_oid,
        coalesce(sizes.tablespace_oid, pages.tablespace_oid) as tablespace_oid,
        coalesce(sizes.relfilenode, pages.relfilenode) as relfilenode,
        coalesce(sizes.fork, pages.fork) as fork,
        coalesce(sizes.records, 0) as records,
        coalesce(sizes.total_bytes, 0) as total_bytes,
        coalesce(sizes.fpi_bytes, 0) as fpi_bytes,
        coalesce(pages.blocks, 0) as blocks,
        coalesce(pages.full_pages, 0) as full_pages,
        coalesce(pages.pages, 0) as pages
    from sizes
    full join pages
        on
            sizes.server = pages.server
            and sizes.database_oid = pages.database_oid
            and sizes.tablespace_oid = pages.tablespace_oid
            and sizes.relfilenode = pages.relfilenode
            and sizes.fork = pages.fork
),

-- a file that was renamed has its last name
names as (
    select
        server,
        database_oid,
        tablespace_oid,
        relfilenode,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        relation_kind,
        coalesce(index_of, toast_of) as part_of
    from relation
    where valid_to_lsn is null
)

select
    by_file.server,
    names.relation,
    names.relation_kind,
    names.part_of,
    by_file.fork,
    by_file.records,
    by_file.total_bytes,
    100.0 * by_file.total_bytes / sum(by_file.total_bytes) over (partition by by_file.server) as total_pct,
    by_file.fpi_bytes,
    by_file.blocks,
    by_file.full_pages,
    by_file.pages,
    by_file.database_oid,
    by_file.tablespace_oid,
    by_file.relfilenode
from by_file
left join names
    on
        by_file.server = names.server
        and by_file.database_oid = names.database_oid
        and by_file.tablespace_oid = names.tablespace_oid
        and by_file.relfilenode = names.relfilenode
order by
    by_file.total_bytes desc,
    by_file.blocks desc,
    by_file.server asc,
    by_file.database_oid asc,
    by_file.tablespace_oid asc,
    by_file.relfilenode asc,
    by_file.fork asc,
    names.relation asc
limit $top
