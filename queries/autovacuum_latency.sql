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

relations as (
    select
        row_number() over () as relation_no,
        server,
        database_name,
        schema_name,
        relation_name
    from runs
    group by server, database_name, schema_name, relation_name
),

names as (
    select
        relation_no,
        server,
        database_name,
        unnest([relation_name, schema_name || '.' || relation_name]) as mention
    from relations
    union all
    select
        relation_no,
        server,
        null as database_name,
        unnest([relation_name, schema_name || '.' || relation_name]) as mention
    from relations
),

mentioned as (
    select
        fingerprint,
        unnest(list_distinct(list_concat(relations_read, relations_written))) as mention
    from query
),

-- many shapes name the same relations: runs are looked up for such a set, not for each shape
shapes as (
    select
        mentioned.fingerprint,
        names.server,
        names.database_name,
        list_sort(list(distinct names.relation_no)) as relation_nos
    from mentioned
    inner join names on mentioned.mention = names.mention
    group by mentioned.fingerprint, names.server, names.database_name
),

shapes_by_set as (
    select
        fingerprint,
        server,
        database_name,
        relation_nos,
        dense_rank() over (order by relation_nos asc) as set_no
    from shapes
),

members as (
    select
        set_no,
        unnest(relation_nos) as relation_no
    from shapes_by_set
    group by set_no, relation_nos
),

set_run as (
    select
        members.set_no,
        runs.started_at as run_started_at,
        max(runs.ended_at) over (partition by members.set_no order by runs.started_at asc) as run_ended_at
    from members
    inner join relations on members.relation_no = relations.relation_no
    inner join runs
        on
            relations.server = runs.server
            and relations.database_name = runs.database_name
            and relations.schema_name = runs.schema_name
            and relations.relation_name = runs.relation_name
),

executions as (
    select
        statement.server,
        statement.started_at,
        statement.duration_ms,
        shapes_by_set.set_no
    from statement
    left join shapes_by_set
        on
            statement.fingerprint = shapes_by_set.fingerprint
            and statement.server = shapes_by_set.server
            and statement.database_name is not distinct from shapes_by_set.database_name
    where
        statement.phase not in ('parse', 'bind')
        and ($since is null or statement.started_at >= $since)
        and ($until is null or statement.started_at < $until)
        and ($server is null or statement.server = $server)
        and ($fingerprint is null or statement.fingerprint = $fingerprint)
),

placed as (
    select
        executions.duration_ms,
        case
            when executions.started_at < set_run.run_ended_at then 'same relation'
            when executions.started_at < any_run.run_ended_at then 'other relation'
            else 'none'
        end as autovacuum
    from executions
    asof left join any_run
        on executions.server = any_run.server and executions.started_at >= any_run.run_started_at
    asof left join set_run
        on executions.set_no = set_run.set_no and executions.started_at >= set_run.run_started_at
),

compared as (
    select
        autovacuum,
        count(*) as calls,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
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
