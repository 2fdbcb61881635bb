-- Are checkpoints brought about by WAL rather than by time, and do they write in bursts?
--
-- One row per server. Checkpoints of a shutdown or the end of recovery are left out. Requested are those that WAL
-- brought about (max_wal_size); forced ones were asked for by a command. The share of the time until the next
-- checkpoint that the writing took shows checkpoint_completion_target, of timed checkpoints that write 1000 buffers
-- or more. The server does not complain of restartpoints, so that these are not among those within 30 s.
--
-- Reads:
--   checkpoint, server_event
-- Columns:
--   server              VARCHAR  server
--   checkpoints         BIGINT   checkpoints and restartpoints
--   timed               BIGINT   of them by checkpoint_timeout
--   requested           BIGINT   by WAL
--   forced              BIGINT   by a command
--   requested_pct       DOUBLE   share of those by WAL among those by time or WAL
--   too_frequent        BIGINT   complaints of the server that they are too frequent (checkpoint_warning)
--   closer_than_30s     BIGINT   requested ones that began within 30 s of the one before
--   p50_gap_s           DOUBLE   median time from a timed or requested one to the next
--   p50_distance_bytes  DOUBLE   median WAL from one to the next
--   max_distance_bytes  DOUBLE   most
--   wal_bytes           DOUBLE   WAL from the first to the last of them
--   write_share         DOUBLE   median share of the time until the next one in which a timed one wrote
--   buffers_written     BIGINT   buffers written
--   longest_sync_s      DOUBLE   longest fsync of a file
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  began at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  began before this time
--   $server  VARCHAR                   null  only this server
with
checkpoints as (
    select
        server,
        source_id,
        line_no,
        started_at,
        buffers_written,
        write_s,
        longest_sync_s,
        1024 * cast(distance_kb as double) as distance_bytes,
        list_contains(coalesce(reasons, []), 'time') as is_timed,
        list_contains(coalesce(reasons, []), 'wal') as is_requested,
        process_kind = 'restartpoint' as is_restartpoint
    from checkpoint
    where
        started_at is not null
        and not list_has_any(coalesce(reasons, []), ['shutdown', 'end-of-recovery'])
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

in_order as (
    select
        server,
        started_at,
        buffers_written,
        write_s,
        longest_sync_s,
        distance_bytes,
        is_timed,
        is_requested,
        is_restartpoint,
        epoch_us(started_at - lag(started_at) over by_time) / 1e6 as since_last_s,
        epoch_us(lead(started_at) over by_time - started_at) / 1e6 as gap_s,
        row_number() over by_time as nth
    from checkpoints
    window by_time as (partition by server order by started_at asc, source_id asc, line_no asc)
),

warnings as (
    select
        server,
        count(*) as too_frequent
    from server_event
    where
        event = 'checkpoints_too_frequent'
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server
),

summed as (
    select
        server,
        count(*) as checkpoints,
        count(*) filter (is_timed) as timed,
        count(*) filter (is_requested) as requested,
        count(*) filter (not is_timed and not is_requested) as forced,
        count(*) filter (is_requested and since_last_s < 30 and is_restartpoint is not true) as closer_than_30s,
        median(gap_s) filter (is_timed or is_requested) as p50_gap_s,
        median(distance_bytes) as p50_distance_bytes,
        max(distance_bytes) as max_distance_bytes,
        -- the first one's WAL was written before it
        sum(distance_bytes) filter (nth > 1) as wal_bytes,
        median(write_s / gap_s) filter (is_timed and buffers_written >= 1000 and gap_s >= 10) as write_share,
        cast(sum(buffers_written) as bigint) as buffers_written,
        max(longest_sync_s) as longest_sync_s
    from in_order
    group by server
)

select
    summed.server,
    summed.checkpoints,
    summed.timed,
    summed.requested,
    summed.forced,
    100 * summed.requested / nullif(summed.requested + summed.timed, 0) as requested_pct,
    coalesce(warnings.too_frequent, 0) as too_frequent,
    summed.closer_than_30s,
    summed.p50_gap_s,
    summed.p50_distance_bytes,
    summed.max_distance_bytes,
    summed.wal_bytes,
    summed.write_share,
    summed.buffers_written,
    summed.longest_sync_s
from summed
left join warnings on summed.server = warnings.server
order by summed.server asc
