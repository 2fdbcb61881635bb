-- Which types of records is the WAL made of?
--
-- The figures are those of pg_waldump --stats=record, of the records that were read.
--
-- Reads:
--   wal_record
-- Columns:
--   server            VARCHAR  server
--   resource_manager  VARCHAR  Heap, Btree, XLOG, Transaction, …
--   record_type       VARCHAR  what the records do
--   records           BIGINT   records
--   records_pct       DOUBLE   share of the server's records
--   record_bytes      BIGINT   size without full page images
--   record_pct        DOUBLE   share of that size
--   fpi_bytes         BIGINT   size of the full page images
--   fpi_pct           DOUBLE   share of that size
--   total_bytes       BIGINT   both
--   total_pct         DOUBLE   share of both
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
by_type as (
    select
        server,
        resource_manager,
        record_type,
        count(*) as records,
        cast(sum(record_bytes) as bigint) as record_bytes,
        cast(sum(fpi_bytes) as bigint) as fpi_bytes,
        cast(sum(total_bytes) as bigint) as total_bytes
    from wal_record
    where
        ($since is null or time_after >= $since)
        and ($until is null or time_after < $until)
        and ($server is null or server = $server)
    group by server, resource_manager, record_type
)

select
    server,
    resource_manager,
    record_type,
    records,
    100.0 * records / sum(records) over (partition by server) as records_pct,
    record_bytes,
    100.0 * record_bytes / sum(record_bytes) over (partition by server) as record_pct,
    fpi_bytes,
    100.0 * fpi_bytes / nullif(sum(fpi_bytes) over (partition by server), 0) as fpi_pct,
    total_bytes,
    100.0 * total_bytes / sum(total_bytes) over (partition by server) as total_pct
from by_type
order by server asc, total_bytes desc, resource_manager asc, record_type asc
