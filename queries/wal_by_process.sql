-- Which processes wrote the WAL, and why?
--
-- A process is known by what only it writes; where several kinds write such records, as hint bits, it is null.
-- Autovacuum and VACUUM look the same in WAL; a transaction of an autovacuum worker (ANALYZE) looks like a backend's.
--
-- Reads:
--   wal_process
-- Columns:
--   server       VARCHAR  server
--   process      VARCHAR  checkpointer, background writer, startup, vacuum or backend; null: several write such records
--   cause        VARCHAR  checkpoint, vacuum, pruning, hint bits, transaction …; null: unknown
--   records      BIGINT   records
--   total_bytes  BIGINT   their size
--   total_pct    DOUBLE   share of the server's WAL
--   fpi_bytes    BIGINT   of it full page images
--   fpi_count    BIGINT   full page images
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
select
    server,
    process,
    cause,
    count(*) as records,
    cast(sum(total_bytes) as bigint) as total_bytes,
    100.0 * sum(total_bytes) / sum(sum(total_bytes)) over (partition by server) as total_pct,
    cast(sum(fpi_bytes) as bigint) as fpi_bytes,
    cast(sum(fpi_count) as bigint) as fpi_count
from wal_process
where
    ($since is null or time_after >= $since)
    and ($until is null or time_after < $until)
    and ($server is null or server = $server)
group by server, process, cause
order by server asc, total_bytes desc, process asc, cause asc
