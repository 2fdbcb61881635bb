-- How much CPU and I/O did each process say it used, over time?
--
-- What a process did from one time to another is spread evenly over that time. Pages are taken for 8 kB. A page that is
-- read may come from the system's cache. Of vacuum, the pages that it dirtied count as written. Reads of queries are
-- known where log_statement_stats is on, or else from plans (auto_explain.log_buffers). A process that is not here did
-- not say.
--
-- Reads:
--   checkpoint, autovacuum, autoanalyze, temp_file, statement, wal_second, resource_usage, plan
-- Columns:
--   server         VARCHAR                   server
--   starting_at    TIMESTAMP WITH TIME ZONE  when the step begins
--   process        VARCHAR                   checkpointer, autovacuum worker, backend; several: WAL
--   what           VARCHAR                   checkpoint, vacuum, analyze, temporary files, statements, WAL
--   cpu_s          DOUBLE                    CPU, user and system; null: it does not say
--   read_bytes     DOUBLE                    read
--   written_bytes  DOUBLE                    written
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  steps that begin at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  steps that begin before this time
--   $server  VARCHAR                   null  only this server
--   $step_s  DOUBLE                    60    length of a step in seconds
with
measured_servers as (
    select distinct server
    from resource_usage
),

-- the statement of the same process that was over next is the one that made the file
executions as (
    select
        server,
        pid,
        logged_at,
        min(started_at) as started_at
    from statement
    where phase not in ('parse', 'bind') and pid in (select temp_file.pid from temp_file)
    group by server, pid, logged_at
),

used as (
    select
        server,
        'checkpointer' as process,
        process_kind as what,
        started_at,
        started_at + to_microseconds(cast(1e6 * write_s as bigint)) as ended_at,
        cast(null as double) as cpu_s,
        cast(null as double) as read_bytes,
        8192 * cast(buffers_written as double) as written_bytes
    from checkpoint
    where not list_has_any(coalesce(reasons, []), ['shutdown', 'end-of-recovery'])
    union all
    select
        server,
        'autovacuum worker' as process,
        'vacuum' as what,
        started_at,
        logged_at as ended_at,
        cpu_user_s + cpu_system_s as cpu_s,
        8192 * cast(buffer_reads as double) as read_bytes,
        8192 * cast(buffer_dirtied as double) as written_bytes
    from autovacuum
    union all
    select
        server,
        'autovacuum worker' as process,
        'analyze' as what,
        started_at,
        logged_at as ended_at,
        cpu_user_s + cpu_system_s as cpu_s,
        8192 * cast(buffer_reads as double) as read_bytes,
        8192 * cast(buffer_dirtied as double) as written_bytes
    from autoanalyze
    union all
    select
        temp_file.server,
        'backend' as process,
        'temporary files' as what,
        case
            when executions.started_at <= temp_file.logged_at then executions.started_at
            else temp_file.logged_at - interval 1 second
        end as started_at,
        case
            when executions.started_at <= temp_file.logged_at then executions.logged_at else temp_file.logged_at
        end as ended_at,
        null as cpu_s,
        null as read_bytes,
        cast(temp_file.size_bytes as double) as written_bytes
    from temp_file
    asof left join executions
        on
            temp_file.server = executions.server
            and temp_file.pid = executions.pid
            and temp_file.logged_at <= executions.logged_at
    union all
    select
        server,
        'several' as process,
        'WAL' as what,
        second as started_at,
        second + interval 1 second as ended_at,
        null as cpu_s,
        null as read_bytes,
        bytes as written_bytes
    from wal_second
    union all
    select
        server,
        'backend' as process,
        'statements' as what,
        started_at,
        logged_at as ended_at,
        cpu_user_s + cpu_system_s as cpu_s,
        512 * cast(blocks_in as double) as read_bytes,
        null as written_bytes
    from resource_usage
    union all
    select
        server,
        'backend' as process,
        'statements' as what,
        logged_at - to_microseconds(cast(1000 * duration_ms as bigint)) as started_at,
        logged_at as ended_at,
        null as cpu_s,
        8192 * cast(shared_read_blocks as double) as read_bytes,
        null as written_bytes
    from plan
    where shared_read_blocks is not null and server not in (select measured_servers.server from measured_servers)
),

-- times are cut to milliseconds, so that what was short may have no length
spans as (
    select
        server,
        process,
        what,
        cpu_s,
        read_bytes,
        written_bytes,
        epoch_us(started_at) as first_us,
        greatest(epoch_us(ended_at), epoch_us(started_at) + 1000) as last_us
    from used
    where
        started_at is not null
        and ended_at is not null
        and coalesce(cpu_s, read_bytes, written_bytes) is not null
        and ($server is null or server = $server)
        and ($since is null or ended_at >= $since)
        and ($until is null or started_at < $until)
),

pieces as (
    select
        server,
        process,
        what,
        cpu_s,
        read_bytes,
        written_bytes,
        first_us,
        last_us,
        cast(1e6 * $step_s as bigint) as step_us,
        unnest(
            generate_series(
                first_us // cast(1e6 * $step_s as bigint), (last_us - 1) // cast(1e6 * $step_s as bigint)
            )
        ) as step
    from spans
),

shares as (
    select
        server,
        process,
        what,
        cpu_s,
        read_bytes,
        written_bytes,
        step * step_us as step_at_us,
        (least(last_us, (step + 1) * step_us) - greatest(first_us, step * step_us)) / (last_us - first_us) as share
    from pieces
)

select
    server,
    to_timestamp(step_at_us / 1e6) as starting_at,
    process,
    what,
    -- whole nanoseconds and bytes have the same sum in any order
    sum(round(1e9 * cpu_s * share)) / 1e9 as cpu_s,
    sum(round(read_bytes * share)) as read_bytes,
    sum(round(written_bytes * share)) as written_bytes
from shares
where
    ($since is null or to_timestamp(step_at_us / 1e6) >= $since)
    and ($until is null or to_timestamp(step_at_us / 1e6) < $until)
group by server, step_at_us, process, what
order by server asc, starting_at asc, process asc, what asc
