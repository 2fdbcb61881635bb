-- How much WAL was written each second, and how much of it were full page images?
--
-- A record counts in the second of the last commit before it, or of its own: what a long transaction writes while no
-- other one commits is in the second before it, see written_until. Records before the first commit are left out.
--
-- Reads:
--   wal_second
-- Columns:
--   server         VARCHAR                   server
--   second         TIMESTAMP WITH TIME ZONE  the second
--   records        BIGINT                    WAL records
--   bytes          BIGINT                    their size, full page images included
--   fpi_bytes      BIGINT                    size of the full page images
--   fpi_pct        DOUBLE                    their share
--   fpi_count      BIGINT                    full page images
--   commits        BIGINT                    commits
--   most_by        VARCHAR                   resource manager that wrote most
--   written_until  TIMESTAMP WITH TIME ZONE  the transactions' records in it were written before this time
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
select
    server,
    second,
    cast(sum(records) as bigint) as records,
    cast(sum(bytes) as bigint) as bytes,
    cast(sum(fpi_bytes) as bigint) as fpi_bytes,
    100.0 * sum(fpi_bytes) / sum(bytes) as fpi_pct,
    cast(sum(fpi_count) as bigint) as fpi_count,
    cast(sum(commits) as bigint) as commits,
    arg_max(resource_manager, (bytes, resource_manager)) as most_by,
    max(written_until) as written_until
from wal_second
where
    ($since is null or second >= $since)
    and ($until is null or second < $until)
    and ($server is null or server = $server)
group by server, second
order by server asc, second asc
