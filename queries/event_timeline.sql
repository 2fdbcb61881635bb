-- When were checkpoints, vacuums, lock waits, temporary files, WAL bursts, errors and troubles, as lanes of a chart?
--
-- Of a lane with at most $most events each is a row; of one with more, those that began in one step are a row, from
-- the first beginning to the last end.
--
-- Reads:
--   background_event, error
-- Columns:
--   lane        VARCHAR                   checkpoint, vacuum, lock wait, temporary file, WAL burst, error or trouble
--   started_at  TIMESTAMP WITH TIME ZONE  when it (or the first of them) began
--   ended_at    TIMESTAMP WITH TIME ZONE  when it (or the last of them) ended; the beginning where that is not said
--   events      BIGINT                    how many
--   longest_s   DOUBLE                    how long the longest took
--   kind        VARCHAR                   kind of event, see table background_event; null for several that differ
--   relation    VARCHAR                   what it worked on; null for several that differ
--   magnitude   DOUBLE                    how large it was; sum of several
--   unit        VARCHAR                   unit of the magnitude
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  events that ended at this time or later
--   $until   TIMESTAMP WITH TIME ZONE  null  events that began before this time
--   $server  VARCHAR                   null  only this server
--   $step_s  BIGINT                    60    length of a step in seconds
--   $most    BIGINT                    200   events of a lane that are shown one by one
with
background as (
    select
        server,
        kind,
        relation,
        magnitude,
        unit,
        case
            when kind in ('checkpoint', 'restartpoint') then 'checkpoint'
            when kind in ('vacuum', 'analyze') then 'vacuum'
            when kind in ('lock wait', 'deadlock') then 'lock wait'
            when kind in ('temporary file', 'WAL burst') then kind
            when kind <> 'reload' then 'trouble'
        end as lane,
        coalesce(started_at, ended_at) as started_at,
        coalesce(ended_at, started_at) as ended_at
    from background_event
),

errors as (
    select
        server,
        lower(severity) as kind,
        relation_name as relation,
        null as magnitude,
        null as unit,
        'error' as lane,
        logged_at as started_at,
        logged_at as ended_at
    from error
    where severity <> 'WARNING'
),

all_events as (
    select * from background
    union all by name
    select * from errors
),

chosen as (
    select
        lane,
        kind,
        relation,
        magnitude,
        unit,
        started_at,
        greatest(started_at, ended_at) as ended_at,
        epoch_us(started_at) // (1000000 * cast($step_s as bigint)) as step,
        row_number() over (
            partition by lane
            order by started_at asc, ended_at asc, kind asc, relation asc, magnitude asc, unit asc
        ) as number,
        count(*) over (partition by lane) as in_lane
    from all_events
    where
        lane is not null
        and ($since is null or ended_at >= $since)
        and ($until is null or started_at < $until)
        and ($server is null or server = $server)
)

select
    lane,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    count(*) as events,
    max(epoch_us(ended_at) - epoch_us(started_at)) / 1000000 as longest_s,
    case when min(kind) = max(kind) then min(kind) end as kind,
    case when min(relation) = max(relation) then min(relation) end as relation,
    round(fsum(magnitude), 3) as magnitude,
    case when min(unit) = max(unit) then min(unit) end as unit
from chosen
group by lane, step, case when in_lane <= $most then number end
order by lane asc, min(started_at) asc, max(ended_at) asc, min(number) asc
