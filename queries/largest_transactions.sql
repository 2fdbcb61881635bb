-- Which transactions wrote the most WAL?
--
-- Subtransactions count with the transaction that they ended with. What a prepared transaction wrote counts until it
-- is committed or rolled back. Without an outcome the transaction ended in WAL that was not read, crashed, or was
-- prepared and is open. A record's full page images are what happened to be the first change of a page since a redo
-- point: another transaction might have had to write them.
--
-- Reads:
--   wal_record, wal_block
-- Columns:
--   server           VARCHAR                   server
--   xid              BIGINT                    transaction
--   outcome          VARCHAR                   committed or aborted; null: not in the WAL read
--   begun_after      TIMESTAMP WITH TIME ZONE  its first record was written at or after this time
--   ended_at         TIMESTAMP WITH TIME ZONE  time of its commit or rollback
--   seconds          DOUBLE                    time between these: it wrote no longer than that
--   records          BIGINT                    records
--   total_bytes      BIGINT                    their size
--   total_pct        DOUBLE                    share of the WAL of all transactions
--   fpi_bytes        BIGINT                    of it full page images
--   relations        BIGINT                    different files of relations that it changed
--   blocks           BIGINT                    references to their blocks
--   subtransactions  BIGINT                    subtransactions that wrote something
--   first_lsn        UBIGINT                   position of its first record
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    20    rows to show
with
by_xid as (
    select
        server,
        xid,
        min(time_after) as begun_after,
        count(*) as records,
        sum(total_bytes) as total_bytes,
        sum(fpi_bytes) as fpi_bytes,
        min(lsn) as first_lsn
    from wal_record
    where
        xid is not null
        and ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
    group by server, xid
),

ends as (
    select
        server,
        coalesce(prepared_xid, xid) as xid,
        max(committed_at) as ended_at,
        case when bool_or(is_commit) then 'committed' else 'aborted' end as outcome
    from wal_record
    where is_commit or is_abort
    group by server, coalesce(prepared_xid, xid)
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

members as (
    select
        by_xid.*,
        parents.sub_xid,
        coalesce(parents.xid, by_xid.xid) as top_xid
    from by_xid
    left join parents on by_xid.server = parents.server and by_xid.xid = parents.sub_xid
),

transactions as (
    select
        server,
        top_xid,
        min(begun_after) as begun_after,
        sum(records) as records,
        sum(total_bytes) as total_bytes,
        100.0 * sum(total_bytes) / sum(sum(total_bytes)) over () as total_pct,
        sum(fpi_bytes) as fpi_bytes,
        count(sub_xid) as subtransactions,
        min(first_lsn) as first_lsn
    from members
    group by server, top_xid
    order by sum(total_bytes) desc, server asc, top_xid asc
    limit $top
),

touched as (
    select
        transactions.server,
        transactions.top_xid,
        count(
            distinct concat_ws('/', wal_block.tablespace_oid, wal_block.database_oid, wal_block.relfilenode)
        ) as relations,
        count(*) as blocks
    from transactions
    inner join members on transactions.server = members.server and transactions.top_xid = members.top_xid
    inner join wal_block on members.server = wal_block.server and members.xid = wal_block.xid
    where
        ($since is null or wal_block.time_after >= $since)
        and ($until is null or wal_block.time_after < $until)
    group by transactions.server, transactions.top_xid
)

select
    transactions.server,
    transactions.top_xid as xid,
    ends.outcome,
    transactions.begun_after,
    ends.ended_at,
    epoch(ends.ended_at) - epoch(transactions.begun_after) as seconds,
    cast(transactions.records as bigint) as records,
    cast(transactions.total_bytes as bigint) as total_bytes,
    transactions.total_pct,
    cast(transactions.fpi_bytes as bigint) as fpi_bytes,
    coalesce(touched.relations, 0) as relations,
    coalesce(touched.blocks, 0) as blocks,
    transactions.subtransactions,
    transactions.first_lsn
from transactions
left join ends on transactions.server = ends.server and transactions.top_xid = ends.xid
left join touched on transactions.server = touched.server and transactions.top_xid = touched.top_xid
order by transactions.total_bytes desc, transactions.server asc, transactions.top_xid asc
