-- Who blocked whom: which process stood at the root, who waited behind it, and how much waiting did it cause?
--
-- A tree for every time that a process blocked others without waiting itself: depth 0 is this process, the others wait
-- for the one above them, because it holds the lock or because it is ahead in the queue with a conflicting mode. A
-- process that waits for several has a row below each. Where a deadlock was broken, the cancelled process is the root.
-- A statement is known if it was logged: with its duration, with an error, or because it waited itself.
--
-- Reads:
--   whole_lock_wait, statement, error, connection, query
-- Columns:
--   began_at          TIMESTAMP WITH TIME ZONE  when the first process began to wait for the root
--   server            VARCHAR                   server
--   root_pid          BIGINT                    process at the root; null: the log does not name the holder
--   depth             BIGINT                    0 for the root, 1 for who waits for it, 2 for who waits for these …
--   pid               BIGINT                    the process
--   blocked_by_pid    BIGINT                    process that it waits for
--   blocked_how       VARCHAR                   holds the lock, or ahead in the queue
--   waiting_since     TIMESTAMP WITH TIME ZONE  when it began to wait
--   waited_ms         DOUBLE                    how long it waited, or had waited when it was last heard of
--   subtree_ms        DOUBLE                    the same with all who waited behind it
--   outcome           VARCHAR                   acquired, deadlock, deadlock avoided, failed, or still waiting
--   mode              VARCHAR                   lock mode that was asked for
--   object            VARCHAR                   what is locked
--   application_name  VARCHAR                   its application
--   query_text        VARCHAR                   what it wanted to run; of the root, what it was running or had run last
--   query_basis       VARCHAR                   waiting, running then, or logged before: how that is known
-- Parameters:
--   $since   TIMESTAMP WITH TIME ZONE  null  trees that began from this time on
--   $until   TIMESTAMP WITH TIME ZONE  null  trees that began before this time
--   $server  VARCHAR                   null  only this server
--   $top     BIGINT                    50    trees to show, those with the most waiting first
with recursive
-- lock modes that cannot be had together, as of the documentation
conflicts as (
    select
        listed.mode,
        listed.conflicting
    from (
        values
        ('AccessShareLock', ['AccessExclusiveLock']),
        ('RowShareLock', ['ExclusiveLock', 'AccessExclusiveLock']),
        ('RowExclusiveLock', ['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock']),
        (
            'ShareUpdateExclusiveLock',
            [
                'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock'
            ]
        ),
        (
            'ShareLock',
            [
                'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock'
            ]
        ),
        (
            'ShareRowExclusiveLock',
            [
                'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock'
            ]
        ),
        (
            'ExclusiveLock',
            [
                'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                'ExclusiveLock', 'AccessExclusiveLock'
            ]
        ),
        (
            'AccessExclusiveLock',
            [
                'AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
            ]
        )
    ) as listed (mode, conflicting)
),

waits as (
    select
        server,
        waiter_pid,
        mode,
        object,
        waiting_since,
        heard_at,
        waited_ms,
        outcome,
        application_name,
        fingerprint,
        holder_pids,
        queue_pids,
        row_number() over (
            order by
                waiting_since asc, server asc, waiter_pid asc, mode asc, object asc, heard_at asc, waited_ms asc,
                outcome asc, application_name asc, fingerprint asc, holder_pids asc, queue_pids asc
        ) as wait_no
    from whole_lock_wait
    where ($server is null or server = $server)
),

-- who is next ahead in the queue and asks for what cannot be had together with it
queued as (
    select
        waits.wait_no,
        arg_max(
            ahead.waiter_pid, (list_position(waits.queue_pids, ahead.waiter_pid), ahead.waiter_pid)
        ) as blocker_pid
    from waits
    inner join conflicts on waits.mode = conflicts.mode
    inner join waits as ahead
        on
            waits.server = ahead.server
            and waits.object = ahead.object
            and waits.waiting_since <= ahead.heard_at
            and waits.heard_at >= ahead.waiting_since
    where
        list_position(waits.queue_pids, ahead.waiter_pid) < list_position(waits.queue_pids, waits.waiter_pid)
        and list_contains(conflicts.conflicting, ahead.mode)
    group by waits.wait_no
),

edges as (
    select
        waits.wait_no,
        waits.server,
        waits.waiting_since,
        waits.heard_at,
        queued.blocker_pid is not null as is_queued,
        unnest(
            case
                when queued.blocker_pid is not null then [queued.blocker_pid]
                when len(waits.holder_pids) > 0 then waits.holder_pids
                else [null]
            end
        ) as blocker_pid
    from waits
    left join queued on waits.wait_no = queued.wait_no
),

-- what the blocker itself waited for meanwhile; a wait that a deadlock ended no longer holds anyone up
parents as (
    select
        edges.wait_no,
        edges.blocker_pid,
        arg_max(
            above.wait_no,
            (
                least(edges.heard_at, above.heard_at) - greatest(edges.waiting_since, above.waiting_since),
                above.wait_no
            )
        ) as parent_no
    from edges
    inner join waits as above
        on
            edges.server = above.server
            and edges.blocker_pid = above.waiter_pid
            and edges.waiting_since < above.heard_at
            and edges.heard_at > above.waiting_since
    where above.outcome <> 'deadlock'
    group by edges.wait_no, edges.blocker_pid
),

links as (
    select
        edges.wait_no,
        edges.server,
        edges.waiting_since,
        edges.heard_at,
        edges.blocker_pid,
        edges.is_queued,
        parents.parent_no
    from edges
    left join parents on edges.wait_no = parents.wait_no and edges.blocker_pid = parents.blocker_pid
),

-- waits for one root that overlap are one tree
firsts as (
    select
        wait_no,
        server,
        waiting_since,
        heard_at,
        blocker_pid,
        is_queued,
        max(heard_at) over (
            partition by server, blocker_pid
            order by waiting_since asc, wait_no asc
            rows between unbounded preceding and 1 preceding
        ) as heard_before
    from links
    where parent_no is null
),

trees as (
    select
        wait_no,
        server,
        waiting_since,
        blocker_pid,
        is_queued,
        count(*) filter (
            blocker_pid is null or heard_before is null or waiting_since > heard_before
        ) over (partition by server, blocker_pid order by waiting_since asc, wait_no asc) as nth
    from firsts
),

nodes as (
    select
        server,
        blocker_pid as root_pid,
        nth,
        wait_no,
        blocker_pid,
        is_queued,
        cast(1 as bigint) as depth,
        [wait_no] as path
    from trees
    union all
    select
        nodes.server,
        nodes.root_pid,
        nodes.nth,
        links.wait_no,
        links.blocker_pid,
        links.is_queued,
        nodes.depth + 1 as depth,
        list_append(nodes.path, links.wait_no) as path
    from nodes
    inner join links on nodes.wait_no = links.parent_no
    where not list_contains(nodes.path, links.wait_no)
),

-- the root, whose path is empty, and everyone above a node bear its wait
shares as (
    select
        nodes.server,
        nodes.root_pid,
        nodes.nth,
        waits.waited_ms,
        waits.waiting_since,
        unnest(list_transform(range(0, len(nodes.path) + 1), lambda n: nodes.path[1:n])) as path
    from nodes
    inner join waits on nodes.wait_no = waits.wait_no
),

subtrees as (
    select
        server,
        root_pid,
        nth,
        path,
        round(fsum(waited_ms), 3) as subtree_ms,
        min(waiting_since) as began_at
    from shares
    group by server, root_pid, nth, path
),

roots as (
    select
        server,
        root_pid,
        nth,
        began_at,
        subtree_ms,
        row_number() over (
            order by subtree_ms desc nulls last, began_at asc, server asc, root_pid asc, nth asc
        ) as place
    from subtrees
    where
        path = []
        and ($since is null or began_at >= $since)
        and ($until is null or began_at < $until)
),

shown as (
    select
        server,
        root_pid,
        nth,
        began_at,
        subtree_ms,
        place
    from roots
    where place <= $top
),

sessions as (
    select
        server,
        pid,
        logged_at as session_began_at,
        max(application_name) as application_name
    from connection
    semi join shown on connection.server = shown.server and connection.pid = shown.root_pid
    group by server, pid, logged_at
),

runs as (
    select
        server,
        pid,
        started_at as run_started_at,
        logged_at as run_ended_at,
        application_name,
        fingerprint
    from statement
    semi join shown on statement.server = shown.server and statement.pid = shown.root_pid
    where phase not in ('parse', 'bind') and fingerprint is not null
    union all
    select
        server,
        waiter_pid as pid,
        waiting_since as run_started_at,
        heard_at as run_ended_at,
        application_name,
        fingerprint
    from waits
    where fingerprint is not null
    union all
    select
        server,
        pid,
        logged_at as run_started_at,
        logged_at as run_ended_at,
        application_name,
        fingerprint
    from error
    semi join shown on error.server = shown.server and error.pid = shown.root_pid
    where fingerprint is not null
),

last_start as (
    select
        shown.place,
        shown.server,
        shown.root_pid,
        runs.run_started_at
    from shown
    asof inner join runs
        on shown.server = runs.server and shown.root_pid = runs.pid and shown.began_at >= runs.run_started_at
),

last_run as (
    select
        last_start.place,
        last_start.run_started_at,
        max(runs.run_ended_at) as run_ended_at,
        arg_max(
            runs.application_name, (runs.run_ended_at, runs.fingerprint, runs.application_name)
        ) as application_name,
        arg_max(runs.fingerprint, (runs.run_ended_at, runs.fingerprint)) as fingerprint
    from last_start
    inner join runs
        on
            last_start.server = runs.server
            and last_start.root_pid = runs.pid
            and last_start.run_started_at = runs.run_started_at
    group by last_start.place, last_start.run_started_at
),

processes as (
    select
        shown.place,
        shown.began_at,
        shown.server,
        shown.root_pid,
        cast(0 as bigint) as depth,
        shown.root_pid as pid,
        cast(null as bigint) as blocked_by_pid,
        cast(null as boolean) as is_queued,
        cast(null as timestamp with time zone) as waiting_since,
        cast(null as double) as waited_ms,
        shown.subtree_ms,
        cast(null as varchar) as outcome,
        cast(null as varchar) as mode,
        cast(null as varchar) as object,
        cast([] as bigint[]) as path,
        -- process ids come round again: what was logged before the session began is another's
        case
            when coalesce(last_run.run_started_at >= sessions.session_began_at, true)
                then coalesce(last_run.application_name, sessions.application_name)
            else sessions.application_name
        end as application_name,
        case
            when coalesce(last_run.run_started_at >= sessions.session_began_at, true) then last_run.fingerprint
        end as fingerprint,
        case when last_run.run_ended_at >= shown.began_at then 'running then' else 'logged before' end as query_basis
    from shown
    left join last_run on shown.place = last_run.place
    asof left join sessions
        on
            shown.server = sessions.server
            and shown.root_pid = sessions.pid
            and shown.began_at >= sessions.session_began_at
    union all
    select
        shown.place,
        shown.began_at,
        shown.server,
        shown.root_pid,
        nodes.depth,
        waits.waiter_pid as pid,
        nodes.blocker_pid as blocked_by_pid,
        nodes.is_queued,
        waits.waiting_since,
        waits.waited_ms,
        subtrees.subtree_ms,
        case when waits.outcome = 'waiting' then 'still waiting' else waits.outcome end as outcome,
        waits.mode,
        waits.object,
        nodes.path,
        waits.application_name,
        waits.fingerprint,
        'waiting' as query_basis
    from shown
    inner join nodes
        on
            shown.server = nodes.server
            and shown.root_pid is not distinct from nodes.root_pid
            and shown.nth = nodes.nth
    inner join waits on nodes.wait_no = waits.wait_no
    inner join subtrees
        on
            nodes.server = subtrees.server
            and nodes.root_pid is not distinct from subtrees.root_pid
            and nodes.nth = subtrees.nth
            and nodes.path = subtrees.path
)

select
    processes.began_at,
    processes.server,
    processes.root_pid,
    processes.depth,
    processes.pid,
    processes.blocked_by_pid,
    case processes.is_queued when true then 'ahead in the queue' when false then 'holds the lock' end as blocked_how,
    processes.waiting_since,
    processes.waited_ms,
    processes.subtree_ms,
    processes.outcome,
    processes.mode,
    processes.object,
    processes.application_name,
    query.query_text,
    case when processes.fingerprint is not null then processes.query_basis end as query_basis
from processes
left join query on processes.fingerprint = query.fingerprint
order by processes.place asc, processes.path asc, processes.blocked_by_pid asc
