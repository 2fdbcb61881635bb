-- When was far more WAL written than usual?
--
-- Runs of seconds, each with more than five times the WAL of the server's median second, and more than 1 MB. A record
-- counts in the second of the last commit before it, so a long transaction's burst may have been slower than it looks:
-- it lasted until ended_at.
--
-- Reads:
--   wal_burst, checkpoint, autovacuum
-- Columns:
--   server            VARCHAR                   server
--   started_at        TIMESTAMP WITH TIME ZONE  when it began, to the second
--   ended_at          TIMESTAMP WITH TIME ZONE  when it ended
--   bytes             BIGINT                    WAL written
--   times_usual       DOUBLE                    largest second, by the server's median second
--   fpi_pct           DOUBLE                    share of full page images
--   commits           BIGINT                    commits
--   resource_manager  VARCHAR                   the one that wrote most in its largest second
--   checkpoints       BIGINT                    checkpoints that began in it or less than 5 s before, from the log
--   vacuums           BIGINT                    autovacuum runs that overlap it, from the log
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
bursts as (
    select
        server,
        started_at,
        ended_at,
        bytes,
        peak_bytes / median_bytes as times_usual,
        100.0 * fpi_bytes / bytes as fpi_pct,
        commits,
        resource_manager
    from wal_burst
    where
        ($since is null or ended_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

checkpoints as (
    select
        bursts.server,
        bursts.started_at,
        count(*) as checkpoints
    from bursts
    inner join checkpoint
        on
            bursts.server = checkpoint.server
            and bursts.started_at <= checkpoint.started_at + interval 5 second
            and bursts.ended_at > checkpoint.started_at
    group by bursts.server, bursts.started_at
),

vacuums as (
    select
        bursts.server,
        bursts.started_at,
        count(*) as vacuums
    from bursts
    inner join autovacuum
        on
            bursts.server = autovacuum.server
            and bursts.started_at <= autovacuum.logged_at
            and bursts.ended_at > autovacuum.started_at
    group by bursts.server, bursts.started_at
)

select
    bursts.server,
    bursts.started_at,
    bursts.ended_at,
    bursts.bytes,
    bursts.times_usual,
    bursts.fpi_pct,
    bursts.commits,
    bursts.resource_manager,
    coalesce(checkpoints.checkpoints, 0) as checkpoints,
    coalesce(vacuums.vacuums, 0) as vacuums
from bursts
left join checkpoints on bursts.server = checkpoints.server and bursts.started_at = checkpoints.started_at
left join vacuums on bursts.server = vacuums.server and bursts.started_at = vacuums.started_at
order by bursts.started_at asc, bursts.server asc
