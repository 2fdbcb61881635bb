-- How long after a checkpoint began are full page images written, and how much WAL are they?
--
-- The first change of a page after the redo point of a checkpoint puts the whole page into the WAL. Seconds are from
-- the redo point, which is the checkpoint's beginning (the log says when, else the last commit before it), to the last
-- commit before the record. The row without seconds is of records that no redo point is known for: before the first one
-- in the WAL read, or without a time. A checkpoint's record tells its redo point when it is done; the last, unfinished
-- one's is known from version 17. Of WAL with gaps, seconds may be from an older checkpoint than the last one.
--
-- Reads:
--   wal_checkpoint, wal_record
-- Columns:
--   from_s          DOUBLE  seconds since the redo point, from
--   until_s         DOUBLE  seconds since the redo point, before; null: no end
--   redo_points     BIGINT  redo points that WAL followed as long after
--   records         BIGINT  records
--   total_bytes     BIGINT  their size
--   fpi_bytes       BIGINT  of it full page images
--   fpi_count       BIGINT  full page images
--   fpi_pct         DOUBLE  share of full page images in the WAL of these seconds
--   of_all_fpi_pct  DOUBLE  these seconds' share in all full page images
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
begun as (
    select
        server,
        redo_lsn,
        max(started_at) as started_at
    from wal_checkpoint
    where redo_lsn is not null
    group by server, redo_lsn
    union all by name
    select distinct
        server,
        lsn as redo_lsn
    from wal_record
    where resource_manager = 'XLOG' and record_type = 'CHECKPOINT_REDO'
),

known as (
    select
        server,
        redo_lsn,
        max(started_at) as started_at
    from begun
    group by server, redo_lsn
),

-- the log's time counts where it fits the record at the redo point
redo_point as (
    select
        known.server,
        known.redo_lsn,
        max(
            case
                when
                    known.started_at >= at_redo.time_after - interval 1 second
                    and known.started_at <= coalesce(at_redo.time_before, known.started_at) + interval 1 second
                    then known.started_at
                else coalesce(at_redo.time_after, known.started_at)
            end
        ) as redo_at
    from known
    left join wal_record as at_redo on known.server = at_redo.server and known.redo_lsn = at_redo.lsn
    group by known.server, known.redo_lsn
),

records as (
    select
        server,
        lsn,
        time_after,
        total_bytes,
        fpi_bytes,
        fpi_count
    from wal_record
    where
        ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
),

placed as (
    select
        records.server,
        redo_point.redo_lsn,
        records.total_bytes,
        records.fpi_bytes,
        records.fpi_count,
        epoch(records.time_after) - epoch(redo_point.redo_at) as since_redo_s
    from records
    asof left join redo_point
        on records.server = redo_point.server and records.lsn >= redo_point.redo_lsn
),

classed as (
    select
        server,
        redo_lsn,
        total_bytes,
        fpi_bytes,
        fpi_count,
        case
            when since_redo_s < 1 then 0
            when since_redo_s < 2 then 1
            when since_redo_s < 5 then 2
            when since_redo_s < 10 then 5
            when since_redo_s < 30 then 10
            when since_redo_s < 60 then 30
            when since_redo_s >= 60 then 60
        end as from_s
    from placed
),

by_class as (
    select
        from_s,
        count(distinct server || '/' || redo_lsn) as redo_points,
        count(*) as records,
        cast(sum(total_bytes) as bigint) as total_bytes,
        cast(sum(fpi_bytes) as bigint) as fpi_bytes,
        cast(sum(fpi_count) as bigint) as fpi_count
    from classed
    group by from_s
)

select
    cast(from_s as double) as from_s,
    cast(
        case from_s when 0 then 1 when 1 then 2 when 2 then 5 when 5 then 10 when 10 then 30 when 30 then 60 end
        as double
    ) as until_s,
    redo_points,
    records,
    total_bytes,
    fpi_bytes,
    fpi_count,
    100.0 * fpi_bytes / total_bytes as fpi_pct,
    100.0 * fpi_bytes / nullif(sum(fpi_bytes) over (), 0) as of_all_fpi_pct
from by_class
order by from_s asc nulls last
