-- What was read, and what was not understood?
--
-- Reads:
--   source
-- Columns:
--   server      VARCHAR                   server
--   path        VARCHAR                   the file
--   log_format  VARCHAR                   stderr, csvlog, jsonlog or unknown
--   lines       BIGINT                    lines read
--   records     BIGINT                    records in them
--   unparsed    BIGINT                    lines that belong to no record
--   first_at    TIMESTAMP WITH TIME ZONE  first time in the file
--   last_at     TIMESTAMP WITH TIME ZONE  last time in the file
-- Parameters:
--   $server  VARCHAR  null  only this server
select
    server,
    path,
    log_format,
    lines,
    records,
    unparsed,
    first_at,
    last_at
from source
where ($server is null or server = $server)
order by server asc, first_at asc, path asc, source_id asc
