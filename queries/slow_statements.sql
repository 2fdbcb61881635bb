-- Which single executions took longest?
--
-- Reads:
--   statement, query
-- Columns:
--   started_at        TIMESTAMP WITH TIME ZONE  when it started
--   duration_ms       DOUBLE                    how long it took
--   server            VARCHAR                   server
--   database_name     VARCHAR                   database
--   user_name         VARCHAR                   role
--   application_name  VARCHAR                   application
--   pid               BIGINT                    process
--   phase             VARCHAR                   statement, execute, fetch, fastpath or none (a bare duration)
--   statement         VARCHAR                   the SQL: without constants, or as logged with $raw
--   source_id         VARCHAR                   the file it was logged in
--   line_no           BIGINT                    the line of that file
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null   from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null   before this time
--   $server  VARCHAR                   null   only this server
--   $min_ms  DOUBLE                    0      leave out faster ones
--   $raw     BOOLEAN                   false  show the SQL as logged, with its constants
--   $top     BIGINT                    50     rows to show
with
slowest as (
    select
        started_at,
        duration_ms,
        server,
        database_name,
        user_name,
        application_name,
        pid,
        phase,
        statement,
        fingerprint,
        source_id,
        line_no
    from statement
    where
        phase not in ('parse', 'bind')
        and duration_ms >= $min_ms
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
    order by duration_ms desc, started_at asc, source_id asc, line_no asc
    limit $top
)

select
    slowest.started_at,
    slowest.duration_ms,
    slowest.server,
    slowest.database_name,
    slowest.user_name,
    slowest.application_name,
    slowest.pid,
    slowest.phase,
    case when $raw then slowest.statement else query.query_text end as statement,
    slowest.source_id,
    slowest.line_no
from slowest
left join query on slowest.fingerprint = query.fingerprint
order by slowest.duration_ms desc, slowest.started_at asc, slowest.source_id asc, slowest.line_no asc
