-- Which settings changed between snapshots, and which are not what is built in?
--
-- From the snapshots of pg_settings that were supplied. A change was made at some time after before_at and not after
-- snapshot_at; the table server_event knows the moment where a reload was logged. What is not built in is that of each
-- server's last snapshot. Left out are settings of the session that took the snapshot (source client or session), and
-- of what is not built in, those that the server sets itself (source default or override, context internal).
--
-- Reads:
--   setting
-- Columns:
--   snapshot_at         TIMESTAMP WITH TIME ZONE  the snapshot that shows it
--   before_at           TIMESTAMP WITH TIME ZONE  the server's snapshot before that one
--   server              VARCHAR                   the server
--   name                VARCHAR                   the setting
--   change              VARCHAR                   changed, needs a restart, new, gone, or not built in
--   value               VARCHAR                   its value, null where it is gone
--   before              VARCHAR                   in the snapshot before; of one not built in, the built-in value
--   source              VARCHAR                   where the value is from
--   context             VARCHAR                   who may change it when
--   is_pending_restart  BOOLEAN                   whether the file has another value, which waits for a restart
-- Parameters:
--   $since         TIMESTAMP WITH TIME ZONE  null   snapshots from this time on; the one before may be older
--   $until         TIMESTAMP WITH TIME ZONE  null   snapshots before this time
--   $server        VARCHAR                   null   only this server
--   $only_changed  BOOLEAN                   false  leave out what is not built in
with
settings as (
    select distinct
        server,
        snapshot_at,
        name,
        value,
        boot_value,
        source,
        context,
        is_default,
        is_pending_restart
    from setting
    where
        source not in ('client', 'session')
        and ($until is null or snapshot_at < $until)
        and ($server is null or server = $server)
),

snapshots as (
    select
        server,
        snapshot_at,
        lag(snapshot_at) over of_server as before_at,
        lead(snapshot_at) over of_server is null as is_last
    from settings
    group by server, snapshot_at
    window of_server as (partition by server order by snapshot_at asc nulls first)
),

earlier as (
    select
        snapshots.server,
        snapshots.snapshot_at,
        snapshots.before_at,
        settings.name,
        settings.value,
        settings.source,
        settings.context,
        settings.is_pending_restart
    from snapshots
    inner join settings on snapshots.server = settings.server and snapshots.before_at = settings.snapshot_at
),

later as (
    select
        snapshots.server,
        snapshots.snapshot_at,
        snapshots.before_at,
        settings.name,
        settings.value,
        settings.source,
        settings.context,
        settings.is_pending_restart
    from snapshots
    inner join settings on snapshots.server = settings.server and snapshots.snapshot_at = settings.snapshot_at
    where snapshots.before_at is not null
),

changes as (
    select
        coalesce(later.snapshot_at, earlier.snapshot_at) as snapshot_at,
        coalesce(later.before_at, earlier.before_at) as before_at,
        coalesce(later.server, earlier.server) as server,
        coalesce(later.name, earlier.name) as name,
        case
            when earlier.name is null then 'new'
            when later.name is null then 'gone'
            when (later.value is distinct from earlier.value) then 'changed'
            when later.is_pending_restart and not earlier.is_pending_restart then 'needs a restart'
        end as change,
        later.value,
        earlier.value as before,
        coalesce(later.source, earlier.source) as source,
        coalesce(later.context, earlier.context) as context,
        later.is_pending_restart
    from later
    full outer join earlier
        on
            later.server = earlier.server
            and later.snapshot_at = earlier.snapshot_at
            and later.name = earlier.name
),

not_built_in as (
    select
        settings.snapshot_at,
        snapshots.before_at,
        settings.server,
        settings.name,
        'not built in' as change,
        settings.value,
        settings.boot_value as before,
        settings.source,
        settings.context,
        settings.is_pending_restart
    from settings
    inner join snapshots
        on
            settings.server = snapshots.server
            and settings.snapshot_at is not distinct from snapshots.snapshot_at
    where
        snapshots.is_last
        and not settings.is_default
        and settings.source not in ('default', 'override')
        and settings.context <> 'internal'
        and not $only_changed
),

found as (
    select * from changes
    union all by name
    select * from not_built_in
)

select
    snapshot_at,
    before_at,
    server,
    name,
    change,
    value,
    before,
    source,
    context,
    is_pending_restart
from found
where
    change is not null
    and ($since is null or snapshot_at >= $since)
order by server asc, change = 'not built in' asc, snapshot_at asc, name asc, value asc, before asc
