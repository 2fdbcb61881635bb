-- When did archiving of WAL fail, for how long, and which files had to wait?
--
-- The server logs failures only: a gap ends with the next archived file where log_min_messages = debug1 shows it; else
-- it is as long as its failures, and the file may have been archived any time after the last of them.
--
-- Reads:
--   archive
-- Columns:
--   started_at      TIMESTAMP WITH TIME ZONE  first failure
--   last_failed_at  TIMESTAMP WITH TIME ZONE  last failure
--   archived_at     TIMESTAMP WITH TIME ZONE  first file archived after it, where that is logged
--   server          VARCHAR                   the server
--   wal_file        VARCHAR                   the first file that waited, where the log names it
--   wal_files       BIGINT                    files that failed and are named
--   failures        BIGINT                    failures
--   gave_up         BIGINT                    times the archiver gave up until later
--   exit_codes      BIGINT[]                  exit codes of the command
--   signals         BIGINT[]                  signals that ended it
--   failed_s        DOUBLE                    seconds from the first to the last failure
--   message         VARCHAR                   what the server said first
-- Parameters:
--   $since    TIMESTAMP WITH TIME ZONE  null  gaps whose last failure is not before this time
--   $until    TIMESTAMP WITH TIME ZONE  null  gaps that began before this time
--   $server   VARCHAR                   null  only this server
--   $pause_s  BIGINT                    300   failures further apart than this are two gaps
with
messages as (
    select
        logged_at,
        server,
        source_id,
        line_no,
        outcome,
        wal_file,
        exit_code,
        signal,
        message,
        lag(logged_at) over in_order as before_at,
        lag(outcome) over in_order as before_outcome
    from archive
    where
        operation = 'archive'
        and outcome in ('archived', 'failed', 'gave up')
        and ($server is null or server = $server)
    window in_order as (partition by server order by logged_at asc, source_id asc, line_no asc)
),

-- a failure begins a gap where files went through before it, or nothing was said for long
numbered as (
    select
        logged_at,
        server,
        source_id,
        line_no,
        outcome,
        wal_file,
        exit_code,
        signal,
        message,
        count(*) filter (
            outcome <> 'archived'
            and (
                before_at is null
                or before_outcome = 'archived'
                or logged_at > before_at + to_seconds($pause_s)
            )
        ) over (partition by server order by logged_at asc, source_id asc, line_no asc) as gap
    from messages
),

gaps as (
    select
        server,
        gap,
        min(logged_at) filter (outcome <> 'archived') as started_at,
        max(logged_at) filter (outcome <> 'archived') as last_failed_at,
        min(logged_at) filter (outcome = 'archived') as archived_at,
        first(wal_file order by logged_at asc, source_id asc, line_no asc) filter (
            outcome <> 'archived' and wal_file is not null
        ) as wal_file,
        count(distinct wal_file) filter (outcome <> 'archived') as wal_files,
        count(*) filter (outcome = 'failed') as failures,
        count(*) filter (outcome = 'gave up') as gave_up,
        list_sort(list(distinct exit_code) filter (exit_code is not null)) as exit_codes,
        list_sort(list(distinct signal) filter (signal is not null)) as signals,
        first(message order by logged_at asc, source_id asc, line_no asc) filter (outcome <> 'archived') as message
    from numbered
    where gap > 0
    group by server, gap
)

select
    started_at,
    last_failed_at,
    archived_at,
    server,
    wal_file,
    wal_files,
    failures,
    gave_up,
    exit_codes,
    signals,
    cast(date_diff('millisecond', started_at, last_failed_at) as double) / 1000 as failed_s,
    message
from gaps
where
    ($since is null or last_failed_at >= $since)
    and ($until is null or started_at < $until)
order by started_at asc, server asc, gap asc
