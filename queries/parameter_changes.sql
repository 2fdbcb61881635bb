-- Which settings changed while the server ran, from what to what, and which changes wait for a restart?
--
-- From the lines that a reload writes. What a setting was before is known only where an earlier line says it; null may
-- also be the default, after a reset.
--
-- Reads:
--   server_event
-- Columns:
--   changed_at    TIMESTAMP WITH TIME ZONE  when
--   server        VARCHAR                   the server
--   parameter     VARCHAR                   the setting
--   change        VARCHAR                   changed, reset, needs a restart, refused, or unknown
--   value         VARCHAR                   the new value, or the one that was refused; null where it was reset
--   before        VARCHAR                   the value that it had by an earlier line
--   restarted_at  TIMESTAMP WITH TIME ZONE  of what needs a restart: the next start; null: there was none by then
--   file_name     VARCHAR                   the configuration file, where it was refused for a line of it
--   file_line_no  BIGINT                    that line
--   message       VARCHAR                   what the server said
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
events as (
    select
        logged_at,
        server,
        source_id,
        line_no,
        parameter,
        value,
        file_name,
        file_line_no,
        message,
        case event
            when 'parameter_changed' then 'changed'
            when 'parameter_reset' then 'reset'
            when 'parameter_needs_restart' then 'needs a restart'
            when 'parameter_invalid' then 'refused'
            when 'parameter_unknown' then 'unknown'
        end as change,
        min(case when event = 'starting' then logged_at end) over (
            partition by server
            order by logged_at asc, source_id asc, line_no asc
            rows between 1 following and unbounded following
        ) as next_start_at
    from server_event
    where
        (event = 'starting' or parameter is not null)
        and ($server is null or server = $server)
),

changes as (
    select
        logged_at,
        server,
        source_id,
        line_no,
        parameter,
        value,
        file_name,
        file_line_no,
        message,
        change,
        case when change = 'needs a restart' then next_start_at end as restarted_at,
        -- a value that was refused was never in force; a reset is one even though it names no value
        last(case when change in ('changed', 'reset') then [value] end ignore nulls) over (
            partition by server, parameter
            order by logged_at asc, source_id asc, line_no asc
            rows between unbounded preceding and 1 preceding
        ) as in_force
    from events
    where change is not null
)

select
    logged_at as changed_at,
    server,
    parameter,
    change,
    value,
    in_force[1] as before,
    restarted_at,
    file_name,
    file_line_no,
    message
from changes
where
    ($since is null or logged_at >= $since)
    and ($until is null or logged_at < $until)
order by logged_at asc, server asc, source_id asc, line_no asc
