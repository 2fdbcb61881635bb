-- Which lines belong to no record, and why?
--
-- Reads:
--   unparsed, source
-- Columns:
--   server   VARCHAR                   server
--   path     VARCHAR                   the file
--   line_no  BIGINT                    the line
--   reason   VARCHAR                   why it was not read
--   near     TIMESTAMP WITH TIME ZONE  time of the record before it
--   text     VARCHAR                   the line
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  near this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  near an earlier time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    100   rows to show
select
    unparsed.server,
    source.path,
    unparsed.line_no,
    unparsed.reason,
    unparsed.near,
    unparsed.text
from unparsed
left join source on unparsed.server = source.server and unparsed.source_id = source.source_id
where
    ($since is null or unparsed.near >= $since)
    and ($until is null or unparsed.near < $until)
    and ($server is null or unparsed.server = $server)
order by unparsed.server asc, source.path asc, unparsed.source_id asc, unparsed.line_no asc
limit $top
