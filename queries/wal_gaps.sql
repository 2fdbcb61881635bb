-- Which stretches of WAL were read, where is some missing between them, and what was read twice?
--
-- In a text that pg_waldump was told to leave records out of (--rmgr, --xid, …) all those are missing.
--
-- Reads:
--   wal_record, source
-- Columns:
--   kind          VARCHAR                   read, gap, or overlap: records that are in two sources
--   server        VARCHAR                   the server
--   timeline      BIGINT                    timeline, where it is known
--   from_lsn      VARCHAR                   its first record; of a gap: the last record before it
--   until_lsn     VARCHAR                   its last record; of a gap: the first record behind it
--   bytes         BIGINT                    WAL from one to the other, page headers among it
--   records       BIGINT                    records; null for a gap
--   started_at    TIMESTAMP WITH TIME ZONE  first time known in it; of a gap: the last one known before it
--   ended_at      TIMESTAMP WITH TIME ZONE  last time known in it; of a gap: the first one known behind it
--   path          VARCHAR                   the source; of a gap: of the record before it
--   other_path    VARCHAR                   of an overlap: the other source; of a gap: of the record behind it
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  what ended at or after this time
--   $until   TIMESTAMP WITH TIME ZONE  null  what began before this time
--   $server  VARCHAR                   null  only this server
with
records_of_server as (
    select
        server,
        source_id,
        timeline,
        coalesce(timeline, 0) as timeline_key,
        lsn,
        prev_lsn,
        end_lsn,
        total_bytes,
        time_after,
        time_before
    from wal_record
    where $server is null or server = $server
),

stretches as (
    select
        server,
        source_id,
        timeline,
        min(lsn) as from_lsn,
        max(lsn) as until_lsn,
        count(*) as records,
        coalesce(min(time_after), min(time_before)) as started_at,
        coalesce(max(time_before), max(time_after)) as ended_at
    from records_of_server
    group by server, source_id, timeline
),

-- a record whose next one is not in the same text
breaks as (
    select
        server,
        source_id,
        timeline,
        timeline_key,
        lsn,
        total_bytes,
        time_after
    from records_of_server
    where end_lsn is null
),

holes as (
    select
        breaks.server,
        breaks.timeline,
        breaks.timeline_key,
        breaks.lsn as from_lsn,
        following.lsn as until_lsn,
        breaks.source_id,
        breaks.time_after
    from breaks
    asof join records_of_server as following
        on
            breaks.server = following.server
            and breaks.timeline_key = following.timeline_key
            and breaks.lsn < following.lsn
    where following.prev_lsn <> breaks.lsn
),

-- the record behind it may be in several sources
gaps as (
    select
        holes.server,
        holes.timeline,
        holes.from_lsn,
        holes.until_lsn,
        min(holes.source_id) as source_id,
        min(following.source_id) as other_source_id,
        max(holes.time_after) as started_at,
        coalesce(min(following.time_before), min(following.time_after)) as ended_at
    from holes
    inner join records_of_server as following
        on
            holes.server = following.server
            and holes.timeline_key = following.timeline_key
            and holes.until_lsn = following.lsn
    group by holes.server, holes.timeline, holes.from_lsn, holes.until_lsn
),

pairs as (
    select
        one.server,
        one.source_id,
        other.source_id as other_source_id,
        coalesce(one.timeline, other.timeline) as timeline,
        greatest(one.from_lsn, other.from_lsn) as from_lsn,
        least(one.until_lsn, other.until_lsn) as until_lsn
    from stretches as one
    inner join stretches as other
        on
            one.server = other.server
            and coalesce(one.timeline = other.timeline, true)
            and one.source_id < other.source_id
            and one.from_lsn <= other.until_lsn
            and one.until_lsn >= other.from_lsn
),

twice as (
    select
        pairs.server,
        pairs.timeline,
        pairs.source_id,
        pairs.other_source_id,
        min(one.lsn) as from_lsn,
        max(one.lsn) as until_lsn,
        count(*) as records,
        min(one.time_after) as started_at,
        coalesce(max(one.time_before), max(one.time_after)) as ended_at
    from pairs
    inner join records_of_server as one
        on
            pairs.server = one.server
            and pairs.source_id = one.source_id
            and one.lsn between pairs.from_lsn and pairs.until_lsn
    inner join records_of_server as other
        on
            pairs.server = other.server
            and pairs.other_source_id = other.source_id
            and one.lsn = other.lsn
    group by pairs.server, pairs.timeline, pairs.source_id, pairs.other_source_id
),

found as (
    select
        'read' as kind,
        server,
        timeline,
        from_lsn,
        until_lsn,
        records,
        started_at,
        ended_at,
        source_id,
        null as other_source_id
    from stretches
    union all
    select
        'gap' as kind,
        server,
        timeline,
        from_lsn,
        until_lsn,
        null as records,
        started_at,
        ended_at,
        source_id,
        other_source_id
    from gaps
    union all
    select
        'overlap' as kind,
        server,
        timeline,
        from_lsn,
        until_lsn,
        records,
        started_at,
        ended_at,
        source_id,
        other_source_id
    from twice
)

select
    found.kind,
    found.server,
    found.timeline,
    lsn_text(found.from_lsn) as from_lsn,
    lsn_text(found.until_lsn) as until_lsn,
    cast(found.until_lsn - found.from_lsn as bigint) as bytes,
    found.records,
    found.started_at,
    found.ended_at,
    one.path,
    other.path as other_path
from found
left join source as one on found.server = one.server and found.source_id = one.source_id
left join source as other on found.server = other.server and found.other_source_id = other.source_id
where
    ($since is null or found.ended_at >= $since)
    and ($until is null or found.started_at < $until)
order by
    found.server asc,
    found.timeline asc,
    found.from_lsn asc,
    found.until_lsn asc,
    found.kind asc,
    one.path asc,
    other.path asc,
    found.source_id asc,
    found.other_source_id asc
