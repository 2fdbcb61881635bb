-- Which checkpoints are in the WAL, when were they, and how much WAL lies between redo point and record?
--
-- Reads:
--   wal_checkpoint
-- Columns:
--   server                VARCHAR                   server
--   lsn                   VARCHAR                   position of the checkpoint's record
--   redo_lsn              VARCHAR                   where recovery would begin
--   is_shutdown           BOOLEAN                   whether it is of a shutdown or the end of recovery
--   started_at            TIMESTAMP WITH TIME ZONE  when it began, from the log
--   completed_at          TIMESTAMP WITH TIME ZONE  when it was done, from the log
--   time_basis            VARCHAR                   how the log's line was found: lsn or order; null: it was not
--   time_after            TIMESTAMP WITH TIME ZONE  its record was written at or after this time
--   time_before           TIMESTAMP WITH TIME ZONE  its record was written at or before this time
--   redo_to_record_bytes  BIGINT                    WAL from the redo point to the record
--   since_last_bytes      BIGINT                    WAL from the redo point of the one before to its own
--   has_full_page_writes  BOOLEAN                   whether full_page_writes is on
--   next_xid              BIGINT                    next transaction id
--   oldest_xid            BIGINT                    oldest transaction id that is not frozen
--   timeline              BIGINT                    timeline
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
checkpoints as (
    select
        *,
        lsn as position,
        cast(lsn as bigint) - cast(redo_lsn as bigint) as redo_to_record_bytes,
        cast(redo_lsn as bigint)
        - lag(cast(redo_lsn as bigint)) over (
            partition by server order by lsn asc, source_id asc, line_no asc
        ) as since_last_bytes
    from wal_checkpoint
)

select
    server,
    lsn_text(position) as lsn,
    lsn_text(redo_lsn) as redo_lsn,
    is_shutdown,
    started_at,
    completed_at,
    time_basis,
    time_after,
    time_before,
    redo_to_record_bytes,
    since_last_bytes,
    has_full_page_writes,
    next_xid,
    oldest_xid,
    timeline
from checkpoints
where
    ($since is null or coalesce(completed_at, time_after) >= $since)
    and ($until is null or coalesce(completed_at, time_after) < $until)
    and ($server is null or server = $server)
order by server asc, position asc, source_id asc, line_no asc
