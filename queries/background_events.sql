-- What else was going on, and when?
--
-- Reads:
--   background_event
-- Columns:
--   server      VARCHAR                   server
--   process     VARCHAR                   checkpointer, autovacuum worker, backend, archiver, startup, postmaster …
--   kind        VARCHAR                   checkpoint, vacuum, lock wait, crash …, see table background_event
--   started_at  TIMESTAMP WITH TIME ZONE  when it began
--   ended_at    TIMESTAMP WITH TIME ZONE  when it ended; null: the log does not say
--   relation    VARCHAR                   what it worked on
--   magnitude   DOUBLE                    how large it was
--   unit        VARCHAR                   unit of the magnitude
--   detail      VARCHAR                   reasons of a checkpoint, outcome of a wait, what was said of a failure
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $kind    VARCHAR                   null  only this kind
select
    server,
    process,
    kind,
    started_at,
    ended_at,
    relation,
    magnitude,
    unit,
    detail
from background_event
where
    ($since is null or coalesce(ended_at, started_at) >= $since)
    and ($until is null or coalesce(started_at, ended_at) < $until)
    and ($server is null or server = $server)
    and ($kind is null or kind = $kind)
order by coalesce(started_at, ended_at) asc, server asc, kind asc, source_id asc, line_no asc
