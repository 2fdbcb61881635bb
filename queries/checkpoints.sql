-- When were checkpoints, why, and what did they write?
--
-- Reads:
--   checkpoint
-- Columns:
--   server           VARCHAR                   server
--   process_kind     VARCHAR                   checkpoint, or restartpoint on a standby
--   reasons          VARCHAR                   why: wal, time, immediate force wait …
--   started_at       TIMESTAMP WITH TIME ZONE  when it began
--   completed_at     TIMESTAMP WITH TIME ZONE  when it was done; null: it never was, or not in this log
--   buffers_written  BIGINT                    buffers written
--   buffers_pct      DOUBLE                    share of shared_buffers
--   write_s          DOUBLE                    time spent writing
--   sync_s           DOUBLE                    time spent in fsync
--   total_s          DOUBLE                    time from start to end
--   longest_sync_s   DOUBLE                    longest fsync of a file
--   wal_added        BIGINT                    WAL files added
--   wal_removed      BIGINT                    WAL files removed
--   wal_recycled     BIGINT                    WAL files recycled
--   distance_kb      BIGINT                    WAL since the checkpoint before
--   estimate_kb      BIGINT                    WAL expected until the next
--   redo_lsn         VARCHAR                   where recovery would begin (from version 16)
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
select
    server,
    process_kind,
    array_to_string(reasons, ' ') as reasons,
    started_at,
    completed_at,
    buffers_written,
    buffers_written_pct as buffers_pct,
    write_s,
    sync_s,
    total_s,
    longest_sync_s,
    wal_added,
    wal_removed,
    wal_recycled,
    distance_kb,
    estimate_kb,
    lsn_text(redo_lsn) as redo_lsn
from checkpoint
where
    ($since is null or coalesce(completed_at, started_at) >= $since)
    and ($until is null or coalesce(started_at, completed_at) < $until)
    and ($server is null or server = $server)
order by server asc, logged_at asc, source_id asc, line_no asc
