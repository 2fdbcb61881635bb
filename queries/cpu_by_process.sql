-- Which process used the CPU: statements, vacuum, analyze, recovery?
--
-- Statements tell it where log_statement_stats (or the other log_*_stats) is on, autovacuum in the lines of
-- log_autovacuum_min_duration, recovery when redo is done (from version 14). What does not log its CPU is not here.
--
-- Reads:
--   resource_usage, autovacuum, autoanalyze, server_event, query
-- Columns:
--   server        VARCHAR  server
--   process       VARCHAR  client backend, autovacuum worker or startup
--   what          VARCHAR  the stage of a statement, vacuum, analyze or redo
--   subject       VARCHAR  the SQL with $n in place of constants, or the table
--   calls         BIGINT   how many measurements
--   cpu_s         DOUBLE   CPU, user and system
--   cpu_user_s    DOUBLE   of it user
--   cpu_system_s  DOUBLE   of it system
--   elapsed_s     DOUBLE   time that passed
--   on_cpu_pct    DOUBLE   share of that time on the CPU; the rest was waiting
--   blocks_in     BIGINT   blocks of 512 bytes read from disk (statements only)
--   blocks_out    BIGINT   blocks of 512 bytes written (statements only)
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  measured from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  measured before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    rows to show
with
measured as (
    select
        logged_at,
        server,
        'client backend' as process,
        stage as what,
        fingerprint,
        cast(null as varchar) as relation,
        cpu_user_s,
        cpu_system_s,
        elapsed_s,
        blocks_in,
        blocks_out
    from resource_usage
    union all
    select
        logged_at,
        server,
        'autovacuum worker' as process,
        'vacuum' as what,
        null as fingerprint,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        cpu_user_s,
        cpu_system_s,
        elapsed_s,
        null as blocks_in,
        null as blocks_out
    from autovacuum
    union all
    select
        logged_at,
        server,
        'autovacuum worker' as process,
        'analyze' as what,
        null as fingerprint,
        concat_ws('.', database_name, schema_name, relation_name) as relation,
        cpu_user_s,
        cpu_system_s,
        elapsed_s,
        null as blocks_in,
        null as blocks_out
    from autoanalyze
    union all
    select
        logged_at,
        server,
        'startup' as process,
        'redo' as what,
        null as fingerprint,
        null as relation,
        cpu_user_s,
        cpu_system_s,
        elapsed_s,
        null as blocks_in,
        null as blocks_out
    from server_event
    where event = 'redo_done'
),

summed as (
    select
        server,
        process,
        what,
        fingerprint,
        relation,
        count(*) as calls,
        round(fsum(cpu_user_s + cpu_system_s), 6) as cpu_s,
        round(fsum(cpu_user_s), 6) as cpu_user_s,
        round(fsum(cpu_system_s), 6) as cpu_system_s,
        round(fsum(elapsed_s), 6) as elapsed_s,
        cast(sum(blocks_in) as bigint) as blocks_in,
        cast(sum(blocks_out) as bigint) as blocks_out
    from measured
    where
        cpu_user_s is not null
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server, process, what, fingerprint, relation
)

select
    summed.server,
    summed.process,
    summed.what,
    coalesce(summed.relation, query.query_text) as subject,
    summed.calls,
    summed.cpu_s,
    summed.cpu_user_s,
    summed.cpu_system_s,
    summed.elapsed_s,
    100 * summed.cpu_s / nullif(summed.elapsed_s, 0) as on_cpu_pct,
    summed.blocks_in,
    summed.blocks_out
from summed
left join query on summed.fingerprint = query.fingerprint
order by
    summed.cpu_s desc,
    summed.server asc,
    summed.process asc,
    summed.what asc,
    summed.relation asc,
    summed.fingerprint asc
limit $top
