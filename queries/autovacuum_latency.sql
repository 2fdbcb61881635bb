-- Do queries run slower while autovacuum works, on their table or on another one?
--
-- An execution is placed by its start: while a vacuum or analyze of a relation that its SQL names was running, while
-- one of another relation of the server was, or while none was. Relations are matched by name within a database; where
-- the SQL does not name a schema, the table's name decides, and where log_line_prefix does not say the database, any
-- database will do. Runs are known only where log_autovacuum_min_duration lets them be logged.
--
-- Reads:
--   autovacuum, autoanalyze, statement, query
-- Columns:
--   autovacuum  VARCHAR  same relation, other relation or none
--   calls       BIGINT   executions
--   mean_ms     DOUBLE   mean duration
--   p50_ms      DOUBLE   median duration
--   p95_ms      DOUBLE   95th percentile
--   p99_ms      DOUBLE   99th percentile
--   max_ms      DOUBLE   longest duration
-- Parameters:
--   $since        TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until        TIMESTAMP WITH TIME ZONE  null  before this time
--   $server       VARCHAR                   null  only this server
--   $fingerprint  VARCHAR                   null  only executions of this shape
with
runs as (
    select
        server,
        database_name,
        schema_name,
        relation_name,
        started_at,
        logged_at as ended_at
    from autovacuum
    union all
    select
        server,
        database_name,
        schema_name,
        relation_name,
        started_at,
        logged_at as ended_at
    from autoanalyze
),

-- the end in a run's row is the latest end of those begun by then: a start is inside a run if it lies before that
any_run as (
    select
        server,
        started_at as run_started_at,
        max(ended_at) over (partition by server order by started_at asc) as run_ended_at
    from runs
),

named_run as (
    select
        server,
        database_name,
        relation_name,
        schema_name,
        started_at as run_started_at,
        max(ended_at) over (
            partition by server, database_name, schema_name, relation_name order by started_at asc
        ) as run_ended_at
    from runs
),

mentioned as (
    select
        fingerprint,
        unnest(list_distinct(list_concat(relations_read, relations_written))) as mention
    from query
),

names as (
    select
        server,
        database_name,
        schema_name,
        relation_name,
        unnest([relation_name, schema_name || '.' || relation_name]) as mention
    from named_run
    group by server, database_name, schema_name, relation_name
),

vacuumed as (
    select
        mentioned.fingerprint,
        names.server,
        names.database_name,
        names.schema_name,
        names.relation_name
    from mentioned
    inner join names on mentioned.mention = names.mention
    group by mentioned.fingerprint, names.server, names.database_name, names.schema_name, names.relation_name
),

executions as (
    select
        row_number() over () as execution,
        server,
        database_name,
        started_at,
        fingerprint,
        duration_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
        and ($fingerprint is null or fingerprint = $fingerprint)
),

on_vacuumed as (
    select
        executions.execution,
        executions.started_at,
        vacuumed.server,
        vacuumed.database_name,
        vacuumed.schema_name,
        vacuumed.relation_name
    from executions
    inner join vacuumed
        on
            executions.fingerprint = vacuumed.fingerprint
            and executions.server = vacuumed.server
            and coalesce(executions.database_name, vacuumed.database_name) = vacuumed.database_name
),

on_same as (
    select distinct on_vacuumed.execution
    from on_vacuumed
    asof inner join named_run
        on
            on_vacuumed.server = named_run.server
            and on_vacuumed.database_name = named_run.database_name
            and on_vacuumed.schema_name = named_run.schema_name
            and on_vacuumed.relation_name = named_run.relation_name
            and on_vacuumed.started_at >= named_run.run_started_at
    where on_vacuumed.started_at < named_run.run_ended_at
),

placed as (
    select
        executions.duration_ms,
        case
            when on_same.execution is not null then 'same relation'
            when executions.started_at < any_run.run_ended_at then 'other relation'
            else 'none'
        end as autovacuum
    from executions
    asof left join any_run
        on executions.server = any_run.server and executions.started_at >= any_run.run_started_at
    left join on_same on executions.execution = on_same.execution
),

compared as (
    select
        autovacuum,
        count(*) as calls,
        avg(duration_ms) as mean_ms,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) as quantiles,
        max(duration_ms) as max_ms
    from placed
    group by autovacuum
)

select
    autovacuum,
    calls,
    mean_ms,
    quantiles[1] as p50_ms,
    quantiles[2] as p95_ms,
    quantiles[3] as p99_ms,
    max_ms
from compared
order by autovacuum desc
