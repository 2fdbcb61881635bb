-- Which queries spilled to temporary files, and how much?
--
-- The server logs a file when it deletes it (log_temp_files); one execution may make many.
--
-- Reads:
--   temp_file, query
-- Columns:
--   query_text     VARCHAR                   the SQL with $n in place of constants, null where it was not logged
--   files          BIGINT                    temporary files
--   total_bytes    BIGINT                    their size together
--   mean_bytes     DOUBLE                    mean size
--   largest_bytes  BIGINT                    size of the largest
--   first_at       TIMESTAMP WITH TIME ZONE  when the first was deleted
--   last_at        TIMESTAMP WITH TIME ZONE  when the last was deleted
--   fingerprint    VARCHAR                   the shape
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    rows to show
with
by_shape as (
    select
        fingerprint,
        count(*) as files,
        cast(sum(size_bytes) as bigint) as total_bytes,
        avg(size_bytes) as mean_bytes,
        max(size_bytes) as largest_bytes,
        min(logged_at) as first_at,
        max(logged_at) as last_at
    from temp_file
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
    group by fingerprint
)

select
    query.query_text,
    by_shape.files,
    by_shape.total_bytes,
    by_shape.mean_bytes,
    by_shape.largest_bytes,
    by_shape.first_at,
    by_shape.last_at,
    by_shape.fingerprint
from by_shape
left join query on by_shape.fingerprint = query.fingerprint
order by by_shape.total_bytes desc, by_shape.fingerprint asc
limit $top
