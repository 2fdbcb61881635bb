-- How much WAL did each autovacuum run write, as the log says and as the WAL says?
--
-- Of the WAL, records without a transaction count that are of the table or one of its indexes, and whose time may lie
-- in the run: all that vacuum writes, but for what it changes in catalogs, and what readers write that happen to prune
-- the table's pages or to set hint bits in the meantime. Where commits are far apart, the time of a record is as
-- uncertain. The WAL's figures are null where no snapshot tells the files of the table (pgtrace ingest relations.csv),
-- or no WAL of that time was read.
--
-- Reads:
--   autovacuum, relation, wal_second, wal_change
-- Columns:
--   server       VARCHAR                   server
--   relation     VARCHAR                   database.schema.table
--   started_at   TIMESTAMP WITH TIME ZONE  when the run began (its end less the elapsed time, to 10 ms)
--   ended_at     TIMESTAMP WITH TIME ZONE  when it ended
--   log_records  BIGINT                    records, from the log; null before version 13
--   log_fpi      BIGINT                    full page images, from the log
--   log_bytes    BIGINT                    WAL, from the log
--   wal_records  BIGINT                    records, from the WAL
--   wal_fpi      BIGINT                    full page images, from the WAL
--   wal_bytes    BIGINT                    their size
--   index_bytes  BIGINT                    of it for indexes
--   of_log_pct   DOUBLE                    size from the WAL as a share of the log's
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
runs as (
    select
        server,
        source_id,
        line_no,
        database_name,
        schema_name || '.' || relation_name as table_name,
        started_at,
        logged_at,
        started_at - interval 10 millisecond as from_at,
        -- the log cuts its times off, to milliseconds or to whole seconds
        logged_at + case
            when logged_at = date_trunc('second', logged_at) then interval 1 second else interval 1 millisecond
        end as to_at,
        wal_records,
        wal_fpi,
        wal_bytes
    from autovacuum
    where $server is null or server = $server
),

known as (
    select distinct
        server,
        database_name,
        schema_name || '.' || relation_name as table_name
    from relation
    where index_of is null
),

spans as (
    select
        server,
        min(second) as first_at,
        max(greatest(second + interval 1 second, written_until)) as last_at
    from wal_second
    group by server
),

changes as (
    select
        server,
        database_name,
        case when relation_kind = 'index' then part_of else schema_name || '.' || relation_name end as table_name,
        time_after,
        coalesce(time_before, cast('infinity' as timestamptz)) as written_by,
        count(*) as records,
        sum(fpi_count) as fpi_count,
        sum(total_bytes) as total_bytes,
        sum(total_bytes) filter (where relation_kind = 'index') as index_bytes
    from wal_change
    where
        xid is null
        and time_after is not null
        and relation_name is not null
        and ($server is null or server = $server)
    group by all
),

-- of runs that ended together one has it all
first_runs as (
    select *
    from runs
    qualify
        row_number() over (
            partition by server, database_name, table_name, to_at order by source_id asc, line_no asc
        ) = 1
),

-- the first run of the table that had not ended; no two vacuum a table at the same time
placed as (
    select
        first_runs.source_id,
        first_runs.line_no,
        sum(changes.records) as records,
        sum(changes.fpi_count) as fpi_count,
        sum(changes.total_bytes) as total_bytes,
        coalesce(sum(changes.index_bytes), 0) as index_bytes
    from changes
    asof inner join first_runs
        on
            changes.server = first_runs.server
            and changes.database_name = first_runs.database_name
            and changes.table_name = first_runs.table_name
            and changes.time_after < first_runs.to_at
    where changes.written_by >= first_runs.from_at
    group by first_runs.source_id, first_runs.line_no
),

compared as (
    select
        runs.*,
        known.server is not null and spans.server is not null as is_known,
        placed.records as found_records,
        placed.fpi_count as found_fpi,
        placed.total_bytes as found_bytes,
        placed.index_bytes
    from runs
    left join known
        on
            runs.server = known.server
            and runs.database_name = known.database_name
            and runs.table_name = known.table_name
    left join spans
        on
            runs.server = spans.server
            and runs.logged_at >= spans.first_at
            and runs.started_at <= spans.last_at
    left join placed on runs.source_id = placed.source_id and runs.line_no = placed.line_no
)

select
    server,
    concat_ws('.', database_name, table_name) as relation,
    started_at,
    logged_at as ended_at,
    wal_records as log_records,
    wal_fpi as log_fpi,
    wal_bytes as log_bytes,
    cast(case when is_known then coalesce(found_records, 0) end as bigint) as wal_records,
    cast(case when is_known then coalesce(found_fpi, 0) end as bigint) as wal_fpi,
    cast(case when is_known then coalesce(found_bytes, 0) end as bigint) as wal_bytes,
    cast(case when is_known then coalesce(index_bytes, 0) end as bigint) as index_bytes,
    case when is_known then 100.0 * coalesce(found_bytes, 0) / nullif(wal_bytes, 0) end as of_log_pct
from compared
where
    ($since is null or logged_at >= $since)
    and ($until is null or started_at < $until)
order by started_at asc, server asc, source_id asc, line_no asc
