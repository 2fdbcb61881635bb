-- What could autovacuum not do, and how near is wraparound?
--
-- Reads:
--   vacuum_event
-- Columns:
--   event          VARCHAR                   what happened, see table vacuum_event
--   server         VARCHAR                   the server
--   database_name  VARCHAR                   database; null where the message names none
--   database_oid   BIGINT                    its oid, where it is named by that
--   relation       VARCHAR                   schema and table; null where it is about none
--   operation      VARCHAR                   vacuum, analyze or work entry
--   counter        VARCHAR                   what runs out: transaction ID, MultiXactId, MultiXact member
--   messages       BIGINT                    how often
--   first_at       TIMESTAMP WITH TIME ZONE  the first
--   last_at        TIMESTAMP WITH TIME ZONE  the last
--   ids_left       BIGINT                    ids left until commands are refused, by the last message that says it
--   least_left     BIGINT                    fewest that were left in any message
--   phases         VARCHAR[]                 phases of the vacuums that were cancelled
--   reasons        VARCHAR[]                 why they were skipped
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  before this time
--   $server  VARCHAR                   null  only this server
with
events as (
    select
        event,
        server,
        database_name,
        database_oid,
        operation,
        counter,
        logged_at,
        source_id,
        line_no,
        ids_left,
        phase,
        reason,
        nullif(concat_ws('.', schema_name, relation_name), '') as relation
    from vacuum_event
    where
        ($since is null or logged_at >= $since)
        and ($until is null or logged_at < $until)
        and ($server is null or server = $server)
)

select
    event,
    server,
    database_name,
    database_oid,
    relation,
    operation,
    counter,
    count(*) as messages,
    min(logged_at) as first_at,
    max(logged_at) as last_at,
    last(ids_left order by logged_at asc, source_id asc, line_no asc) filter (ids_left is not null) as ids_left,
    min(ids_left) as least_left,
    list_sort(list(distinct phase) filter (phase is not null)) as phases,
    list_sort(list(distinct reason) filter (reason is not null)) as reasons
from events
group by event, server, database_name, database_oid, relation, operation, counter
order by
    messages desc,
    event asc,
    server asc,
    database_name asc,
    database_oid asc,
    relation asc,
    operation asc,
    counter asc
