"""When something went on that may make queries slow: background_event, cut into windows to compare latency in.

One view, ``event_window``: what is only logged as a moment gets the time that its effect could last, connections are
counted by second, temporary files get the time of the statement that made them, and statements that are long by nature
stand for the work that they do beside all others.
"""

from __future__ import annotations

from datetime import datetime

from pgtrace.schema import Column, Table

#: what is logged as a moment may matter for this long
_AFTERMATH = "interval 10 seconds"
#: a vacuum or analyze shorter than this is left out
_SHORTEST_VACUUM = "interval 100 milliseconds"
#: full page images come mostly this soon after the redo point, which is where a checkpoint begins
_SINCE_REDO = "interval 30 seconds"
#: a connection storm: so many connections within a second, and so many times the server's usual second
_STORM_CONNECTIONS, _STORM_TIMES = 20, 5
#: a statement is long by nature if nine out of ten take this long, and three times the shortest that is logged
_LONG_MS, _LONG_TIMES, _LONG_SHARE = 500, 3, 0.9

#: times of whole seconds (%t in log_line_prefix) are as much too early
_BEGUN = """
execution.started_at <= temp_file.logged_at + case
    when epoch_us(temp_file.logged_at) % 1000000 = 0 and epoch_us(execution.logged_at) % 1000000 = 0
        then interval 1 second
    else interval 0 seconds end
"""
_MINUTE_US = 60_000_000

_CHECKPOINT_PARTS = f"""
select server, 'checkpointer' as process, process_kind as kind, started_at, completed_at as ended_at,
    cast(null as varchar) as relation, cast(null as varchar) as fingerprint,
    cast(buffers_written as double) as magnitude, 'buffers written' as unit, array_to_string(reasons, ' ') as detail
from checkpoint
where not list_has_any(coalesce(reasons, []), ['shutdown', 'end-of-recovery'])
union all
select server, 'checkpointer', process_kind || ' write', started_at,
    started_at + to_microseconds(cast(write_s * 1e6 as bigint)),
    null, null, cast(buffers_written as double), 'buffers written', array_to_string(reasons, ' ')
from checkpoint
where not list_has_any(coalesce(reasons, []), ['shutdown', 'end-of-recovery'])
union all
select server, 'checkpointer', process_kind || ' sync',
    completed_at - to_microseconds(cast(sync_s * 1e6 as bigint)), completed_at,
    null, null, cast(sync_files as double), 'files synced', array_to_string(reasons, ' ')
from checkpoint
where sync_s >= 0.05 and not list_has_any(coalesce(reasons, []), ['shutdown', 'end-of-recovery'])
union all
select server, 'checkpointer', 'since redo', started_at,
    -- and not after the middle of the time to the next one: the later half is what the first is compared with
    least(started_at + {_SINCE_REDO}, coalesce(started_at + (next_started_at - started_at) / 2, 'infinity')),
    null, null, cast(distance_kb as double), 'kB of WAL since the one before', array_to_string(reasons, ' ')
from (
    select *, lead(started_at) over (partition by server order by started_at, source_id, line_no) as next_started_at
    from checkpoint
    where process_kind = 'checkpoint' and started_at is not null
)
"""

_OF_BACKGROUND_EVENT = f"""
select server, process,
    case
        when kind in ('archive failed', 'restore failed', 'cleanup failed', 'recovery end failed') then 'archive failed'
        when kind = 'WAL burst' and magnitude > 0 and try_cast(split_part(detail, ' ', 1) as double) >= 50
            then 'full page image burst'
        else kind end,
    started_at,
    case when ended_at > started_at or kind in ('vacuum', 'analyze') then ended_at else started_at + {_AFTERMATH} end,
    relation, null, magnitude, unit, detail
from background_event
where kind not in ('checkpoint', 'restartpoint', 'lock wait', 'temporary file') and started_at is not null
    -- the many vacuums of tiny tables are over before they could be in anyone's way
    and not (kind in ('vacuum', 'analyze') and ended_at < started_at + {_SHORTEST_VACUUM})
    -- a vacuum that was skipped or given up does nothing any more
    and not (kind like '% skipped' or kind like '% canceled')
union all
select server, 'backend', 'lock wait', waiting_since, heard_at, object, fingerprint, waited_ms, 'ms waited', outcome
from whole_lock_wait
"""

_CONNECTION_STORM = f"""
select server, 'postmaster', 'connection storm', second, second + interval 1 second, null, null,
    cast(connections as double), 'connections', null
from (
    select *,
        -- the median second, those without a connection among them
        coalesce(max(connections) filter (nth <= seconds / 2 - (seconds - busy_seconds)) over (partition by server), 0)
            as usual
    from (
        select server, date_trunc('second', coalesce(received_at, logged_at)) as second, count(*) as connections,
            row_number() over (partition by server order by count(*)) as nth,
            count(*) over (partition by server) as busy_seconds,
            1 + date_diff(
                'second',
                min(min(coalesce(received_at, logged_at))) over (partition by server),
                max(max(coalesce(received_at, logged_at))) over (partition by server)
            ) as seconds
        from connection
        group by server, second
    )
)
where connections >= greatest({_STORM_CONNECTIONS}, {_STORM_TIMES} * usual)
"""

#: the statement that made the file is the one of the same process that was over next, if it had begun by then. Most end
#: soon after, so they are looked for by minutes first: sorting all statements would take longer than all else
_TEMP_FILES = f"""
select server, 'backend', 'temporary files', coalesce(statement_started_at, logged_at - interval 1 second),
    coalesce(statement_ended_at, logged_at), null, fingerprint, cast(size_bytes as double), 'bytes', null
from (
    select temp_file.server, temp_file.logged_at, temp_file.size_bytes,
        coalesce(temp_file.fingerprint, case when {{begun}} then execution.fingerprint end) as fingerprint,
        case when {{begun}} then least(execution.started_at, temp_file.logged_at) end as statement_started_at,
        case when {{begun}} then execution.logged_at end as statement_ended_at
    from temp_file
    asof left join (
        -- of several that were over at one time, the first: an asof join takes any
        select server, pid, started_at, logged_at, fingerprint,
            cast(epoch_us(logged_at) as hugeint) * 4294967296 + line_no as nth
        from statement
        where phase not in ('parse', 'bind') and (
            (pid, epoch_us(logged_at) // {_MINUTE_US}) in (
                select (pid, unnest([epoch_us(logged_at) // {_MINUTE_US}, epoch_us(logged_at) // {_MINUTE_US} + 1]))
                from temp_file
            )
            or (duration_ms >= {_MINUTE_US} / 1000 and pid in (select pid from temp_file))
        )
    ) as execution
        on temp_file.server = execution.server and temp_file.pid = execution.pid
        and cast(epoch_us(temp_file.logged_at) as hugeint) * 4294967296 <= execution.nth
)
""".format(begun=_BEGUN)

_HEAVY = f"""
select statement.server, 'backend', 'heavy query', statement.started_at, statement.logged_at, null,
    statement.fingerprint, statement.duration_ms, 'ms', statement.application_name
from statement
inner join (
    select server, fingerprint
    from (
        select *, min(shortest_ms) over (partition by server) as shortest_of_all_ms
        from (
            select server, fingerprint, count(*) as calls, min(duration_ms) as shortest_ms,
                count(*) filter (duration_ms >= {_LONG_MS}) as long_calls,
                quantile_cont(duration_ms, {1 - _LONG_SHARE:.1f}) filter (duration_ms >= {_LONG_MS}) as usually_from_ms
            from statement
            where phase not in ('parse', 'bind')
            group by server, fingerprint
        )
    )
    where long_calls >= {_LONG_SHARE} * calls and usually_from_ms >= {_LONG_TIMES} * shortest_of_all_ms
        -- asleep, it does no work; and a CHECKPOINT is the checkpointer's
        and fingerprint not in (
            select fingerprint
            from query
            where fingerprint is not null and (query_text ilike '%pg_sleep%' or query_text ilike 'checkpoint%')
        )
) as heavy on statement.server = heavy.server and statement.fingerprint = heavy.fingerprint
where statement.phase not in ('parse', 'bind') and statement.duration_ms is not null
"""

_VIEW = " union all ".join((_CHECKPOINT_PARTS, _OF_BACKGROUND_EVENT, _CONNECTION_STORM, _TEMP_FILES, _HEAVY))

VIEWS = {"event_window": f"select * from ({_VIEW}) where started_at is not null and ended_at is not null"}

VIEW_TABLES = {
    "event_window": Table(
        name="event_window",
        one_row_per="stretch of time in which something went on that may make queries slow",
        columns={
            "process": Column("the process, as in background_event; null: several"),
            "kind": Column(
                "checkpoint, its write and sync, since redo (the time after its redo point); restartpoint; vacuum, "
                "analyze; lock wait, recovery conflict; WAL burst, full page image burst; connection storm; temporary "
                "files; heavy query (a statement that is long by nature); archive failed, replication trouble, and "
                "whatever else background_event has"
            ),
            "started_at": Column("when it began", datetime),
            "ended_at": Column("when it ended; 10 seconds on for what is logged as a moment", datetime),
            "relation": Column("what it worked on, as in background_event"),
            "fingerprint": Column("shape of the SQL that waited, spilt or was heavy"),
            "magnitude": Column("how large it was", float),
            "unit": Column("unit of the magnitude"),
            "detail": Column("reasons, outcome, application_name of a heavy query"),
        },
        time="started_at",
    )
}
