-- Which errors happened, how often, and since when?
--
-- Messages that differ only in quoted names and numbers are one row.
--
-- Reads:
--   error, query
-- Columns:
--   severity         VARCHAR                   WARNING, ERROR, FATAL or PANIC
--   sqlstate         VARCHAR                   SQLSTATE, null where the log does not say it
--   condition        VARCHAR                   its name
--   message          VARCHAR                   the message, with "…" for names and N for numbers
--   messages         BIGINT                    how often
--   first_at         TIMESTAMP WITH TIME ZONE  the first
--   last_at          TIMESTAMP WITH TIME ZONE  the last
--   example          VARCHAR                   with $raw one message as it was written
--   example_query    VARCHAR                   the query of one of them
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $raw     BOOLEAN                   false  show an example with its names and values
--   $top     BIGINT                    100   rows to show
with
unvalued as (
    select
        severity,
        sqlstate,
        condition,
        logged_at,
        message,
        fingerprint,
        regexp_replace(message, '''[^'']*''', '''…''', 'g') as unnamed
    from error
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
),

masked as (
    select
        severity,
        sqlstate,
        condition,
        logged_at,
        message,
        fingerprint,
        regexp_replace(regexp_replace(unnamed, '"[^"]*"', '"…"', 'g'), '[0-9]+', 'N', 'g') as shape
    from unvalued
),

grouped as (
    select
        severity,
        sqlstate,
        condition,
        shape,
        count(*) as messages,
        min(logged_at) as first_at,
        max(logged_at) as last_at,
        min(message) as example,
        min(fingerprint) as fingerprint
    from masked
    group by severity, sqlstate, condition, shape
)

select
    grouped.severity,
    grouped.sqlstate,
    grouped.condition,
    grouped.shape as message,
    grouped.messages,
    grouped.first_at,
    grouped.last_at,
    case when $raw then grouped.example end as example,
    query.query_text as example_query
from grouped
left join query on grouped.fingerprint = query.fingerprint
order by grouped.messages desc, grouped.severity asc, grouped.sqlstate asc, grouped.shape asc
limit $top
