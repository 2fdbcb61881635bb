"""Replication lagging? Breaks and conflicts that the server recorded, and how far a standby says it had come."""

from __future__ import annotations

from typing import Any

from pgtrace.doctor.answer import CANNOT_TELL, NO, YES, Answer, Evidence
from pgtrace.doctor.logged import Logged
from pgtrace.doctor.scope import Scope, within

_KEY, _QUESTION = "replication_lagging", "Replication lagging?"
#: what a message means for those who wait for the standby, the worst first, and what to do
_TROUBLE = {
    "wal_removed": ("WAL that a standby needs is gone", "rebuild the standby; use a replication slot or wal_keep_size"),
    "slot_invalidated": (
        "a slot was invalidated, and its standby or subscriber cannot go on",
        "rebuild what used it; raise max_slot_wal_keep_size, or find out why it did not keep up",
    ),
    "apply_error": ("a subscription cannot apply a change", "mend the conflict, or skip the transaction"),
    "worker_failed": ("a logical replication worker failed", "see the errors of the worker"),
    "subscription_disabled": ("a subscription was disabled", "mend its error and enable it"),
    "decoding_error": ("logical decoding failed", "see the error"),
    "receiver_timeout": ("the standby heard nothing from the primary", "look at the network and at the primary's load"),
    "sender_timeout": ("a standby did not answer", "look at the network and at the standby's I/O; wal_sender_timeout"),
    "worker_timeout": ("a subscriber heard nothing from its publisher", "look at the network and at the publisher"),
    "streaming_failed": ("streaming broke off", "look at the network and the other server's log"),
    "streaming_not_started": ("streaming could not begin", "see what the other server said"),
    "connection_failed": ("a standby could not connect", "look at the network, primary_conninfo and pg_hba.conf"),
    "primary_refused": ("the primary refused a standby", "see its message"),
    "standby_connection_lost": ("the connection to a standby was lost", "look at the network and the standby's log"),
}
_CONFLICTS = ("statement_canceled", "connection_terminated", "recovery_waiting", "recovery_wait_ended")
#: recovery that waited so long in all for queries is behind by that
_LEAST_CONFLICT_S = 1.0
#: a standby that is at most so far behind does not lag
_LAG_S = 10.0
_WALRECEIVER = "walreceiver"
_MOST_SHOWN = 5
#: a server that goes down breaks its replication: what is logged so soon around that is no trouble
_AROUND_STOP = "interval 2 seconds"


def replication_lagging(scope: Scope, logged: Logged) -> Answer:
    """Answer from the messages of senders, receivers, workers and recovery."""
    troubles = _troubles(scope)
    conflicts = _conflicts(scope)
    evidence = [_of_trouble(row) for row in troubles]
    if (conflicts["waited_s"] or 0) >= _LEAST_CONFLICT_S or conflicts["cancelled"]:
        evidence.append(_of_conflicts(conflicts))
    use = _in_use(scope)
    behind = _behind(scope)
    missing = tuple(name for name in ("log_replication_commands", "log_connections") if not logged.has(name))
    if is_standby(scope) and not logged.has("log_recovery_conflict_waits"):
        missing = ("log_recovery_conflict_waits", *missing)
    if evidence:
        top = troubles[0] if troubles else None
        step = (
            _TROUBLE[top["event"]][1] if top else "max_standby_streaming_delay and hot_standby_feedback weigh queries"
        )
        return Answer(
            _KEY,
            _QUESTION,
            YES,
            evidence[0].text,
            basis="measured",
            process=(top["process"] or "replication") if top else "startup",
            kind=top["event"].replace("_", " ") if top else "recovery conflict",
            evidence=tuple(evidence[:_MOST_SHOWN]),
            next_step=f"{step}; pgtrace query replication_timeline has all; pg_stat_replication has the lag of now",
            would_tell=missing,
        )
    if use["messages"] == 0 and use["sessions"] == 0:
        return _without(logged, missing)
    if behind["points"] and behind["most_s"] <= _LAG_S:
        text = f"at {behind['points']} restart points recovery was at most {behind['most_s']:.1f} s behind the primary"
        return Answer(_KEY, _QUESTION, NO, text, basis="measured", evidence=(Evidence(text, behind),))
    text = "replication is in use and nothing broke it; how far behind a standby is, the log does not say"
    numbers = {"messages": use["messages"], "sessions": use["sessions"]}
    step = "select application_name, write_lag, flush_lag, replay_lag from pg_stat_replication;"
    return Answer(
        _KEY, _QUESTION, CANNOT_TELL, text, evidence=(Evidence(text, numbers),), next_step=step, would_tell=missing
    )


def _without(logged: Logged, missing: tuple[str, ...]) -> Answer:
    if logged.has("log_connections") or logged.has("log_replication_commands"):
        text = "there is no sign of replication: no connection of a standby, no receiver, no worker"
        return Answer(_KEY, _QUESTION, NO, text, basis="measured")
    text = "there is no sign of replication, but connections are not in this log"
    return Answer(_KEY, _QUESTION, CANNOT_TELL, text, would_tell=missing)


def _troubles(scope: Scope) -> list[dict[str, Any]]:
    """One row per kind of trouble, worst first; what comes with a server's stop or start is none."""
    names = ", ".join(f"'{name}'" for name in _TROUBLE)
    rows = scope.rows(
        f"""
        select event, arg_min(process, (logged_at, source_id, line_no)) as process, count(*) as messages,
            min(logged_at) as first_at, max(logged_at) as last_at,
            arg_min(
                coalesce(standby, application_name, subscription, slot_name), (logged_at, source_id, line_no)
            ) as who,
            arg_min(split_part(message, chr(10), 1), (logged_at, source_id, line_no)) as message
        from replication
        where event in ({names}) and {within("logged_at")}
            and not exists (
                select 1
                from server_event
                where server_event.server = replication.server
                    and server_event.event in ('fast_shutdown', 'smart_shutdown', 'immediate_shutdown', 'shutting_down',
                        'starting', 'promote_requested')
                    and server_event.logged_at between replication.logged_at - {_AROUND_STOP}
                    and replication.logged_at + {_AROUND_STOP}
            )
        group by event
        """
    )
    order = list(_TROUBLE)
    return sorted(rows, key=lambda row: order.index(row["event"]))


def _of_trouble(row: dict[str, Any]) -> Evidence:
    who = f" ({row['who']})" if row["who"] else ""
    often = "once" if row["messages"] == 1 else f"{row['messages']:,} times, last {row['last_at']:%H:%M:%S}"
    text = f"{_TROUBLE[row['event']][0]}{who}: {often}, first {row['first_at']:%Y-%m-%d %H:%M:%S}: {row['message']}"
    return Evidence(text, {"event": row["event"], "messages": row["messages"]})


def _conflicts(scope: Scope) -> dict[str, Any]:
    return scope.row(
        f"""
        select count(*) filter (event in ('statement_canceled', 'connection_terminated')) as cancelled,
            fsum(waited_ms) filter (event = 'recovery_wait_ended') / 1000 as waited_s,
            count(*) filter (event = 'recovery_wait_ended') as waits,
            string_agg(distinct conflict, ', ' order by conflict) as conflicts
        from replication
        where event in {_CONFLICTS} and {within("logged_at")}
        """
    )


def _of_conflicts(row: dict[str, Any]) -> Evidence:
    waited = f"recovery waited {row['waited_s']:,.1f} s for queries" if row["waits"] else "recovery met queries"
    about = f" ({row['conflicts']})" if row["conflicts"] else ""
    text = f"{waited}{about}, and cancelled {row['cancelled']:,} of them"
    return Evidence(text, {name: row[name] for name in ("cancelled", "waited_s", "waits")})


def _in_use(scope: Scope) -> dict[str, Any]:
    return scope.row(
        f"""
        select
            (select count(*) from replication where {within("logged_at")}) as messages,
            (select count(*) from connection where is_replication and {within("logged_at")}) as sessions
        """
    )


def is_standby(scope: Scope) -> bool:
    """Whether the server was a standby at some time in the span."""
    row = scope.row(
        f"""
        select count(*) > 0 as is_standby
        from server_event
        where event in ('standby_mode', 'ready_read_only', 'restart_point') and {within("logged_at")}
        """
    )
    return bool(row["is_standby"])


def _behind(scope: Scope) -> dict[str, Any]:
    """How long before each restart point its last transaction was, which is the most that recovery can be behind."""
    return scope.row(
        f"""
        select count(behind_s) as points, max(behind_s) as most_s
        from (
            select epoch_us(logged_at - try_cast(said_time as timestamp with time zone)) / 1e6 as behind_s
            from server_event
            where event = 'restart_point' and {within("logged_at")}
        )
        """
    )
