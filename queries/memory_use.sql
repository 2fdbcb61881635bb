-- How much memory did sorts and hashes really take, how many of them are in a plan, and how often was it too little?
--
-- One row per server. Sorts and hashes are those of logged plans (auto_explain.log_analyze). The largest resident size
-- is what log_statement_stats says: it has the shared buffers that the process touched.
--
-- Reads:
--   temp_file, plan, plan_node, resource_usage, error
-- Columns:
--   server              VARCHAR  server
--   temp_files          BIGINT   temporary files
--   temp_bytes          BIGINT   their size
--   temp_max_bytes      BIGINT   largest
--   plans               BIGINT   logged plans
--   operations_p95      DOUBLE   nodes of a plan that take work_mem, 95th percentile
--   operations_max      BIGINT   most
--   sort_max_bytes      BIGINT   most memory that a sort took
--   hash_max_bytes      BIGINT   most memory that a hash or another node took
--   spilled_nodes       BIGINT   nodes that went to disk
--   resident_max_bytes  BIGINT   largest resident size of a process
--   out_of_memory       BIGINT   errors for want of memory
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
files as (
    select
        server,
        count(*) as temp_files,
        cast(sum(size_bytes) as bigint) as temp_bytes,
        max(size_bytes) as temp_max_bytes
    from temp_file
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server
),

plans as (
    select
        server,
        source_id,
        line_no
    from plan
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

by_plan as (
    select
        plans.server,
        count(plan_node.node_no) filter (
            plan_node.node_type in (
                'Sort', 'Incremental Sort', 'Hash', 'Materialize', 'Memoize', 'CTE Scan', 'WindowAgg'
            )
            or plan_node.strategy in ('Hashed', 'Mixed')
        ) as operations,
        max(plan_node.sort_space_kb) filter (plan_node.sort_space_type = 'Memory') as sort_kb,
        max(plan_node.peak_memory_kb) as hash_kb,
        count(*) filter (
            plan_node.sort_space_type = 'Disk' or plan_node.disk_kb > 0 or plan_node.hash_batches > 1
        ) as spilled
    from plans
    left join plan_node
        on
            plans.server = plan_node.server
            and plans.source_id = plan_node.source_id
            and plans.line_no = plan_node.line_no
    group by plans.server, plans.source_id, plans.line_no
),

planned as (
    select
        server,
        count(*) as plans,
        quantile_cont(operations, 0.95) as operations_p95,
        max(operations) as operations_max,
        1024 * max(sort_kb) as sort_max_bytes,
        1024 * max(hash_kb) as hash_max_bytes,
        cast(sum(spilled) as bigint) as spilled_nodes
    from by_plan
    group by server
),

resident as (
    select
        server,
        1024 * max(max_resident_kb) as resident_max_bytes
    from resource_usage
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server
),

failures as (
    select
        server,
        count(*) as out_of_memory
    from error
    where
        sqlstate in ('53200', '53000')
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by server
),

servers as (
    select server
    from files
    union
    select server
    from planned
    union
    select server
    from resident
    union
    select server
    from failures
)

select
    servers.server,
    coalesce(files.temp_files, 0) as temp_files,
    files.temp_bytes,
    files.temp_max_bytes,
    coalesce(planned.plans, 0) as plans,
    planned.operations_p95,
    planned.operations_max,
    planned.sort_max_bytes,
    planned.hash_max_bytes,
    planned.spilled_nodes,
    resident.resident_max_bytes,
    coalesce(failures.out_of_memory, 0) as out_of_memory
from servers
left join files on servers.server = files.server
left join planned on servers.server = planned.server
left join resident on servers.server = resident.server
left join failures on servers.server = failures.server
order by servers.server asc
