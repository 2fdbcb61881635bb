-- What filled the memory of a process that ran out of it, or that was asked?
--
-- Contexts of one name and purpose together. A process that was asked writes a message for each (csvlog and jsonlog
-- have them too), one that ran out of memory writes them to stderr only.
--
-- Reads:
--   memory_context
-- Columns:
--   logged_at        TIMESTAMP WITH TIME ZONE  when the process began to write them
--   server           VARCHAR                   the server
--   pid              BIGINT                    the process
--   cause            VARCHAR                   out of memory, or asked (pg_log_backend_memory_contexts)
--   name             VARCHAR                   memory context; null: those that were summed up by the server
--   ident            VARCHAR                   what it is for: an index, a statement
--   contexts         BIGINT                    how many
--   total_bytes      BIGINT                    their size
--   used_bytes       BIGINT                    of it used
--   share_pct        DOUBLE                    share of all memory contexts of the process
--   process_bytes    BIGINT                    size of all of these
--   requested_bytes  BIGINT                    what it asked for when it ran out
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    10    contexts to show of each process
with
-- a dump is one error, or what follows the message that a process begins with when it is asked
contexts as (
    select
        logged_at,
        server,
        pid,
        cause,
        name,
        ident,
        child_contexts,
        is_grand_total,
        total_bytes,
        used_bytes,
        requested_bytes,
        case
            when cause = 'asked'
                then count(target_pid) over (
                    partition by server, pid, cause order by logged_at asc, source_id asc, line_no asc
                )
        end as nth,
        case when cause <> 'asked' then source_id end as error_source_id,
        case when cause <> 'asked' then line_no end as error_line_no
    from memory_context
    where ($server is null or server = $server)
),

dumps as (
    select
        server,
        pid,
        cause,
        nth,
        error_source_id,
        error_line_no,
        min(logged_at) as logged_at,
        cast(sum(total_bytes) filter (is_grand_total is not true) as bigint) as process_bytes,
        max(requested_bytes) as requested_bytes
    from contexts
    group by server, pid, cause, nth, error_source_id, error_line_no
),

summed as (
    select
        server,
        pid,
        cause,
        nth,
        error_source_id,
        error_line_no,
        name,
        ident,
        cast(sum(coalesce(child_contexts, 1)) as bigint) as contexts,
        cast(sum(total_bytes) as bigint) as total_bytes,
        cast(sum(used_bytes) as bigint) as used_bytes
    from contexts
    where is_grand_total is not true and total_bytes is not null
    group by server, pid, cause, nth, error_source_id, error_line_no, name, ident
),

ranked as (
    select
        dumps.logged_at,
        dumps.server,
        dumps.pid,
        dumps.cause,
        summed.name,
        summed.ident,
        summed.contexts,
        summed.total_bytes,
        summed.used_bytes,
        dumps.process_bytes,
        dumps.requested_bytes,
        row_number() over (
            partition by
                dumps.server, dumps.pid, dumps.cause, dumps.nth, dumps.error_source_id, dumps.error_line_no
            order by summed.total_bytes desc, summed.name asc, summed.ident asc
        ) as place,
        dumps.nth,
        dumps.error_source_id,
        dumps.error_line_no
    from dumps
    inner join summed
        on
            dumps.server = summed.server
            and dumps.pid is not distinct from summed.pid
            and dumps.cause = summed.cause
            and dumps.nth is not distinct from summed.nth
            and dumps.error_source_id is not distinct from summed.error_source_id
            and dumps.error_line_no is not distinct from summed.error_line_no
    where
        ($since is null or dumps.logged_at >= $since)
        and ($until is null or dumps.logged_at < $until)
)

select
    logged_at,
    server,
    pid,
    cause,
    name,
    ident,
    contexts,
    total_bytes,
    used_bytes,
    100.0 * total_bytes / nullif(process_bytes, 0) as share_pct,
    process_bytes,
    requested_bytes
from ranked
where place <= $top
order by
    logged_at asc,
    server asc,
    pid asc,
    cause asc,
    nth asc,
    error_source_id asc,
    error_line_no asc,
    place asc
