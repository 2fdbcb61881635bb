-- How many executions ran at the same time, started, and were slow, over time?
--
-- Only what is logged with a duration counts. Slow is slower than nine in ten executions of the same query.
--
-- Reads:
--   activity
-- Columns:
--   server          VARCHAR                   server
--   starting_at     TIMESTAMP WITH TIME ZONE  when the step begins
--   started         BIGINT                    executions that started in it
--   slow            BIGINT                    of them slow
--   most_in_flight  DOUBLE                    most executions at the same time, in a second of it
--   excess_s        DOUBLE                    seconds that the slow ones took beyond what is slow
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
--   $step_s  BIGINT                    60    length of a step in seconds
select
    server,
    to_timestamp(epoch_us(second) // (1000000 * $step_s) * $step_s) as starting_at,
    cast(sum(started) as bigint) as started,
    cast(sum(slow) as bigint) as slow,
    max(in_flight) as most_in_flight,
    round(fsum(excess_s), 6) as excess_s
from activity
where
    ($since is null or second >= $since)
    and ($until is null or second < $until)
    and ($server is null or server = $server)
group by all
order by server asc, starting_at asc
