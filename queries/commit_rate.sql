-- How many transactions were committed each second, and what did they cost in WAL?
--
-- Only transactions that wrote something are in the WAL. A commit's time is taken just before its record is written, so
-- a second's commits are those that began to end in it.
--
-- Reads:
--   wal_record
-- Columns:
--   server            VARCHAR                   server
--   second            TIMESTAMP WITH TIME ZONE  the second
--   commits           BIGINT                    commits
--   aborts            BIGINT                    rollbacks
--   bytes             BIGINT                    WAL that is counted in the second, see wal_by_second
--   bytes_per_commit  DOUBLE                    mean WAL for each commit
--   longest_gap_ms    DOUBLE                    longest time without a commit that ended in this second
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
by_second as (
    select
        server,
        date_trunc('second', time_after) as second,
        count(*) filter (where is_commit) as commits,
        count(*) filter (where is_abort) as aborts,
        cast(sum(total_bytes) as bigint) as bytes
    from wal_record
    where
        time_after is not null
        and ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
    group by server, date_trunc('second', time_after)
),

-- commits are nearly in the order of their times
gaps as (
    select
        server,
        committed_at,
        epoch_us(committed_at)
        - lag(epoch_us(committed_at)) over (partition by server order by committed_at asc) as gap_us
    from wal_record
    where
        is_commit
        and ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
),

longest as (
    select
        server,
        date_trunc('second', committed_at) as second,
        max(gap_us) as gap_us
    from gaps
    group by server, date_trunc('second', committed_at)
)

select
    by_second.server,
    by_second.second,
    by_second.commits,
    by_second.aborts,
    by_second.bytes,
    cast(by_second.bytes as double) / nullif(by_second.commits, 0) as bytes_per_commit,
    longest.gap_us / 1000.0 as longest_gap_ms
from by_second
left join longest on by_second.server = longest.server and by_second.second = longest.second
order by by_second.server asc, by_second.second asc
