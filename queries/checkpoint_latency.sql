-- Do queries run slower while a checkpoint is under way?
--
-- An execution counts as inside when it started between the start and the completion of a checkpoint or restartpoint
-- (start times, because a long execution overlaps more of everything). The first row is of all executions, the others
-- of one shape each. A difference is associated with checkpoints, not proved to come from them: full page images make
-- the time after a checkpoint dearer as well, and load may differ. Where log_min_duration_statement hides the fast
-- executions, the difference looks smaller than it is. Checkpoints without a completion are left out.
--
-- Reads:
--   checkpoint, statement, query
-- Columns:
--   query_text     VARCHAR  the SQL with $n in place of constants; (all) for every execution
--   calls_inside   BIGINT   executions that started while a checkpoint was under way
--   calls_outside  BIGINT   executions that started at other times
--   mean_inside    DOUBLE   mean duration inside, ms
--   mean_outside   DOUBLE   mean duration outside, ms
--   p50_inside     DOUBLE   median inside, ms
--   p50_outside    DOUBLE   median outside, ms
--   p95_inside     DOUBLE   95th percentile inside, ms
--   p95_outside    DOUBLE   95th percentile outside, ms
--   p99_inside     DOUBLE   99th percentile inside, ms
--   p99_outside    DOUBLE   99th percentile outside, ms
--   p95_ratio      DOUBLE   95th percentile inside by outside: above 1 is slower inside
--   fingerprint    VARCHAR  the shape
-- Parameters:
--   $since      TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until      TIMESTAMP WITH TIME ZONE  null  before this time
--   $server     VARCHAR                   null  only this server
--   $min_calls  BIGINT                    10    leave out shapes with fewer executions inside or outside
with
-- the end of a checkpoint's row is the latest end of those begun by then, so that no start falls between two of them
under_way as (
    select
        server,
        started_at as span_started_at,
        max(completed_at) over (partition by server order by started_at asc) as span_ended_at
    from checkpoint
    where started_at is not null and completed_at is not null
),

executions as (
    select
        server,
        started_at,
        fingerprint,
        duration_ms
    from statement
    where
        phase not in ('parse', 'bind')
        and ($since is null or started_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
),

placed as (
    select
        executions.fingerprint,
        executions.duration_ms,
        coalesce(executions.started_at < under_way.span_ended_at, false) as is_inside
    from executions
    asof left join under_way
        on executions.server = under_way.server and executions.started_at >= under_way.span_started_at
),

compared as (
    select
        grouping(fingerprint) as is_total,
        fingerprint,
        count(*) filter (where is_inside) as calls_inside,
        count(*) filter (where not is_inside) as calls_outside,
        round(fsum(duration_ms) filter (where is_inside), 3)
        / count(duration_ms) filter (where is_inside) as mean_inside,
        round(fsum(duration_ms) filter (where not is_inside), 3)
        / count(duration_ms) filter (where not is_inside) as mean_outside,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) filter (where is_inside) as inside,
        quantile_cont(duration_ms, [0.5, 0.95, 0.99]) filter (where not is_inside) as outside,
        round(fsum(duration_ms), 3) as total_ms
    from placed
    group by grouping sets ((), (fingerprint))
)

select
    case when compared.is_total = 1 then '(all)' else query.query_text end as query_text,
    compared.calls_inside,
    compared.calls_outside,
    compared.mean_inside,
    compared.mean_outside,
    compared.inside[1] as p50_inside,
    compared.outside[1] as p50_outside,
    compared.inside[2] as p95_inside,
    compared.outside[2] as p95_outside,
    compared.inside[3] as p99_inside,
    compared.outside[3] as p99_outside,
    compared.inside[2] / nullif(compared.outside[2], 0) as p95_ratio,
    compared.fingerprint
from compared
left join query on compared.fingerprint = query.fingerprint
where
    compared.calls_inside + compared.calls_outside > 0
    and (
        compared.is_total = 1
        or (compared.calls_inside >= $min_calls and compared.calls_outside >= $min_calls)
    )
order by compared.is_total desc, compared.total_ms desc, compared.fingerprint asc
