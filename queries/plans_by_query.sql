-- Which plans did a query have, did they change, and how far off were their estimates?
--
-- From auto_explain. Two plans are the same if their nodes are, whatever their numbers. The error of an estimate needs
-- auto_explain.log_analyze: rows of a node against those estimated, both for one of its loops, whichever is more
-- (at least one) over the other. Under a node that stops early, such as a Limit, an estimate is not really off.
--
-- Reads:
--   plan, plan_node, query
-- Columns:
--   query_text     VARCHAR                   the SQL with $n in place of constants
--   plan_hash      VARCHAR                   the plan
--   plans          BIGINT                    plans that the query had
--   is_changed     BOOLEAN                   whether it had several
--   top_node       VARCHAR                   type of the top node
--   executions     BIGINT                    logged executions with it
--   mean_ms        DOUBLE                    mean duration
--   p95_ms         DOUBLE                    95th percentile
--   max_ms         DOUBLE                    longest duration
--   slower_times   DOUBLE                    mean duration over that of the query's fastest plan
--   worst_error    DOUBLE                    largest error of an estimate, as a factor; null: rows were not counted
--   worst_node     VARCHAR                   node that has it, and its relation
--   worst_planned  DOUBLE                    rows estimated there
--   worst_actual   DOUBLE                    rows that there were
--   first_at       TIMESTAMP WITH TIME ZONE  first logged
--   last_at        TIMESTAMP WITH TIME ZONE  last logged
--   fingerprint    VARCHAR                   the shape of the SQL
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show
with
plans as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        fingerprint,
        plan_hash,
        duration_ms
    from plan
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

nodes as (
    select
        plans.fingerprint,
        plans.plan_hash,
        plan_node.node_no,
        plan_node.plan_rows,
        plan_node.actual_rows,
        plan_node.logged_at,
        plan_node.source_id,
        plan_node.line_no,
        plan_node.node_type,
        case
            when plan_node.actual_loops > 0 and plan_node.actual_rows is not null
                then
                    greatest(plan_node.actual_rows, plan_node.plan_rows, 1)
                    / greatest(least(plan_node.actual_rows, plan_node.plan_rows), 1)
        end as error,
        concat_ws(' on ', plan_node.node_type, plan_node.relation_name) as node
    from plan_node
    inner join plans
        on
            plan_node.server = plans.server
            and plan_node.source_id = plans.source_id
            and plan_node.line_no = plans.line_no
),

errors as (
    select
        fingerprint,
        plan_hash,
        min(node_type) filter (node_no = 1) as top_node,
        max(error) as worst_error,
        first(node order by error desc, logged_at asc, source_id asc, line_no asc, node_no asc) filter (
            error is not null
        ) as worst_node,
        first(plan_rows order by error desc, logged_at asc, source_id asc, line_no asc, node_no asc) filter (
            error is not null
        ) as worst_planned,
        first(actual_rows order by error desc, logged_at asc, source_id asc, line_no asc, node_no asc) filter (
            error is not null
        ) as worst_actual
    from nodes
    group by fingerprint, plan_hash
),

by_plan as (
    select
        fingerprint,
        plan_hash,
        count(*) as executions,
        round(fsum(duration_ms), 3) / count(duration_ms) as mean_ms,
        quantile_cont(duration_ms, 0.95) as p95_ms,
        max(duration_ms) as max_ms,
        min(logged_at) as first_at,
        max(logged_at) as last_at
    from plans
    group by fingerprint, plan_hash
)

select
    query.query_text,
    by_plan.plan_hash,
    count(*) over (partition by by_plan.fingerprint) as plans,
    count(*) over (partition by by_plan.fingerprint) > 1 as is_changed,
    errors.top_node,
    by_plan.executions,
    by_plan.mean_ms,
    by_plan.p95_ms,
    by_plan.max_ms,
    by_plan.mean_ms / nullif(min(by_plan.mean_ms) over (partition by by_plan.fingerprint), 0) as slower_times,
    errors.worst_error,
    errors.worst_node,
    errors.worst_planned,
    errors.worst_actual,
    by_plan.first_at,
    by_plan.last_at,
    by_plan.fingerprint
from by_plan
left join errors
    on
        by_plan.fingerprint is not distinct from errors.fingerprint
        and by_plan.plan_hash is not distinct from errors.plan_hash
left join query on by_plan.fingerprint = query.fingerprint
order by
    by_plan.mean_ms * by_plan.executions desc,
    by_plan.fingerprint asc,
    by_plan.plan_hash asc
limit $top
