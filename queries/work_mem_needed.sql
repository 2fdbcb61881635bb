-- How much work_mem would have kept each query's sorts and hashes in memory?
--
-- An estimate. On disk, data takes less room than in memory: a sort needs 1.3 times its size on disk where rows are
-- wide, two to three times where they are narrow, and up to 4.5 times for a single number ($factor). Where
-- auto_explain logged the plan (log_analyze), the node that needs most counts: a sort on disk or the spilt part of a
-- hashed aggregate times $factor, a hash its peak memory times its batches. Else it is all that the execution wrote to
-- temporary files (log_temp_files), times $factor; that is too much where several nodes spilled, or a hash join, whose
-- other side goes to disk too. A hash may take hash_mem_multiplier times work_mem (2 from version 15); building an
-- index takes maintenance_work_mem. Files of a cursor belong to the statement that closes it.
--
-- Reads:
--   temp_file, statement, plan, plan_node, query
-- Columns:
--   query_text             VARCHAR  the SQL with $n in place of constants, null where it was not logged
--   executions             BIGINT   logged executions
--   spilled                BIGINT   executions that went to disk
--   files                  BIGINT   temporary files
--   p50_bytes              DOUBLE   median size on disk of an execution; null: no temporary files were logged
--   p95_bytes              DOUBLE   95th percentile of these
--   max_bytes              BIGINT   largest
--   planned                BIGINT   spilled executions whose plan tells what was needed
--   p95_work_mem_mb        BIGINT   work_mem, in MB, that would have kept 95 % of them in memory
--   suggested_work_mem_mb  BIGINT   that would have kept all in memory
--   fingerprint            VARCHAR  the shape
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  logged from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  logged before this time
--   $server  VARCHAR                   null  only this server
--   $factor  DOUBLE                    2.5   size in memory over size on disk
--   $top     BIGINT                    50    rows to show
with
-- files that parallel processes share are named after their leader; the outer side of a hash join needs no memory
temp_files as (
    select
        server,
        source_id,
        line_no,
        logged_at,
        fingerprint,
        coalesce(try_cast(nullif(regexp_extract(path, 'pgsql_tmp([0-9]+)[.][0-9]+[.]', 1), '') as bigint), pid) as pid,
        case when regexp_matches(path, 'fileset/o[0-9]+of') then 0 else size_bytes end as needed_bytes,
        size_bytes
    from temp_file
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

nodes as (
    select
        plan.server,
        coalesce(plan.execution_source_id, plan.source_id) as source_id,
        coalesce(plan.execution_line_no, plan.line_no) as line_no,
        plan.fingerprint,
        1024.0 * case
            when plan_node.sort_space_type = 'Disk' then plan_node.sort_space_kb * $factor
            when plan_node.disk_kb > 0 then coalesce(plan_node.peak_memory_kb, 0) + plan_node.disk_kb * $factor
            when plan_node.hash_batches > 1 then plan_node.peak_memory_kb * plan_node.hash_batches
        end as needed_bytes
    from plan_node
    inner join plan
        on
            plan_node.server = plan.server
            and plan_node.source_id = plan.source_id
            and plan_node.line_no = plan.line_no
    where
        ($since is null or plan.logged_at >= $since)
        and ($until is null or plan.logged_at < $until)
        and ($server is null or plan.server = $server)
        and (plan_node.sort_space_type = 'Disk' or plan_node.disk_kb > 0 or plan_node.hash_batches > 1)
),

plans as (
    select
        server,
        source_id,
        line_no,
        max(fingerprint) as fingerprint,
        max(needed_bytes) as needed_bytes
    from nodes
    group by server, source_id, line_no
),

shapes as (
    select fingerprint
    from temp_files
    where fingerprint is not null
    union
    select fingerprint
    from plans
    where fingerprint is not null
),

executions as (
    select
        server,
        source_id,
        line_no,
        pid,
        started_at,
        logged_at,
        logged_by,
        fingerprint,
        -- of several that were over at one time, by line: an asof join takes any
        cast(epoch_us(logged_at) as hugeint) * 4294967296 + line_no as nth
    from statement
    semi join shapes on statement.fingerprint = shapes.fingerprint
    where
        phase not in ('parse', 'bind')
        and ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

planned as (
    select
        server,
        source_id,
        line_no,
        pid,
        logged_at,
        fingerprint,
        nth
    from executions
    where logged_by = 'plan'
),

-- a file is logged when it is deleted: before the line with the duration, but after that of auto_explain
placed as (
    select
        temp_files.server,
        temp_files.pid,
        temp_files.logged_at,
        temp_files.source_id,
        temp_files.line_no,
        temp_files.size_bytes,
        temp_files.needed_bytes,
        case
            when temp_files.fingerprint is not null then temp_files.fingerprint
            when planned.logged_at >= temp_files.logged_at - interval 1 second then planned.fingerprint
        end as fingerprint,
        case
            when executions.started_at <= temp_files.logged_at then executions.source_id
            when planned.logged_at >= temp_files.logged_at - interval 1 second then planned.source_id
        end as run_source_id,
        case
            when executions.started_at <= temp_files.logged_at then executions.line_no
            when planned.logged_at >= temp_files.logged_at - interval 1 second then planned.line_no
        end as run_line_no
    from temp_files
    asof left join executions
        on
            temp_files.server = executions.server
            and temp_files.pid = executions.pid
            and temp_files.fingerprint = executions.fingerprint
            and cast(epoch_us(temp_files.logged_at) as hugeint) * 4294967296 <= executions.nth
    asof left join planned
        on
            temp_files.server = planned.server
            and temp_files.pid = planned.pid
            and cast(epoch_us(temp_files.logged_at) + 1 as hugeint) * 4294967296 > planned.nth
),

-- where the execution was not logged, files of one process within a second of each other are one
numbered as (
    select
        server,
        pid,
        logged_at,
        source_id,
        line_no,
        size_bytes,
        needed_bytes,
        fingerprint,
        run_source_id,
        run_line_no,
        lag(logged_at) over in_order as before_at
    from placed
    window in_order as (
        partition by server, pid, fingerprint, run_source_id, run_line_no
        order by logged_at asc, source_id asc, line_no asc
    )
),

grouped as (
    select
        server,
        pid,
        size_bytes,
        needed_bytes,
        fingerprint,
        run_source_id,
        run_line_no,
        count(*) filter (
            run_source_id is null and (before_at is null or logged_at > before_at + interval 1 second)
        ) over (
            partition by server, pid, fingerprint, run_source_id, run_line_no
            order by logged_at asc, source_id asc, line_no asc
        ) as nth
    from numbered
),

by_files as (
    select
        server,
        fingerprint,
        run_source_id,
        run_line_no,
        count(*) as files,
        cast(sum(size_bytes) as bigint) as size_bytes,
        sum(needed_bytes) * $factor as needed_bytes
    from grouped
    group by server, pid, fingerprint, run_source_id, run_line_no, nth
),

spilled as (
    select
        coalesce(plans.fingerprint, by_files.fingerprint) as fingerprint,
        by_files.files,
        by_files.size_bytes,
        plans.needed_bytes is not null as is_planned,
        coalesce(plans.needed_bytes, by_files.needed_bytes) as needed_bytes
    from by_files
    full join plans
        on
            by_files.server = plans.server
            and by_files.run_source_id = plans.source_id
            and by_files.run_line_no = plans.line_no
),

by_shape as (
    select
        fingerprint,
        count(*) as spilled,
        cast(coalesce(sum(files), 0) as bigint) as files,
        quantile_cont(size_bytes, [0.5, 0.95]) as sizes,
        max(size_bytes) as max_bytes,
        count(*) filter (is_planned) as planned,
        quantile_cont(needed_bytes, 0.95) as p95_needed,
        max(needed_bytes) as max_needed
    from spilled
    group by fingerprint
),

calls as (
    select
        fingerprint,
        count(*) as executions
    from executions
    group by fingerprint
)

select
    query.query_text,
    greatest(coalesce(calls.executions, 0), by_shape.spilled) as executions,
    by_shape.spilled,
    by_shape.files,
    by_shape.sizes[1] as p50_bytes,
    by_shape.sizes[2] as p95_bytes,
    by_shape.max_bytes,
    by_shape.planned,
    cast(ceil(by_shape.p95_needed / 1048576) as bigint) as p95_work_mem_mb,
    cast(ceil(by_shape.max_needed / 1048576) as bigint) as suggested_work_mem_mb,
    by_shape.fingerprint
from by_shape
left join calls on by_shape.fingerprint = calls.fingerprint
left join query on by_shape.fingerprint = query.fingerprint
order by by_shape.max_needed desc, by_shape.fingerprint asc
limit $top
