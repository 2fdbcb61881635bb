-- Which classes of errors happened, how often, and to whom?
--
-- The class is that of the SQLSTATE (%e in log_line_prefix, or csvlog or jsonlog); without it the class is null.
--
-- Reads:
--   error
-- Columns:
--   severity         VARCHAR                   WARNING, ERROR, FATAL or PANIC
--   condition_class  VARCHAR                   name of the SQLSTATE's class, null where the log does not say it
--   messages         BIGINT                    how often
--   conditions       VARCHAR[]                 names of the SQLSTATEs
--   cancelled        BIGINT                    of these, statements or sessions that were cancelled
--   databases        BIGINT                    databases that had them
--   users            BIGINT                    roles that had them
--   first_at         TIMESTAMP WITH TIME ZONE  the first
--   last_at          TIMESTAMP WITH TIME ZONE  the last
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
select
    severity,
    condition_class,
    count(*) as messages,
    coalesce(list_sort(list(distinct condition) filter (where condition is not null)), []) as conditions,
    count(*) filter (where cancelled_by is not null) as cancelled,
    count(distinct database_name) as databases,
    count(distinct user_name) as users,
    min(logged_at) as first_at,
    max(logged_at) as last_at
from error
where
    ($since is null or logged_at >= $since)
    and ($until is null or logged_at < $until)
    and ($server is null or server = $server)
group by severity, condition_class
order by messages desc, severity asc, condition_class asc
