"""Replication, physical and logical, and conflicts of recovery with queries (log_replication_commands,
log_recovery_conflict_waits; walsender.c, walreceiver.c, libpqwalreceiver.c, slot.c, slotsync.c, syncrep.c, standby.c,
worker.c, conflict.c …).

One row per message. ``_EVENTS`` holds the names of the events, each with the words that its messages begin with, and
``_EVENTS_OF`` those whose words stand behind a name, as in ``standby "a" is now …``.

What fails in a process that replicates may say anything: such errors are found by their CONTEXT (``apply_error``,
``decoding_error``) or by backend_type (``process_error``). Before version 15 an error in applying has no CONTEXT, so it
is a ``process_error``, and not found in a log without backend_type. Errors that other tables read too, such as a
deadlock, have a row here as well.

Limitations: a refused connection says nothing of replication (``the database system is starting up``) and is not here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import RECORD, SESSION, Column
from pgtrace.units import Lsn

if TYPE_CHECKING:
    import polars as pl

_EVENTS = {
    # walsender
    "command_received": "received replication command: ", "decoding_started": "starting logical decoding for slot ",
    "decoding_starting_point": "logical decoding found initial starting point at ",
    "decoding_initial_consistent_point": "logical decoding found initial consistent point at ",
    "decoding_consistent_point": "logical decoding found consistent point at ",
    "sender_timeout": "terminating walsender process due to replication timeout",
    "sender_stopped": "terminating walsender process after promotion",
    "standby_connection_lost": "unexpected EOF on standby connection", "wal_removed": "requested WAL segment ",
    "start_refused": "requested starting point |cannot use a logical replication slot for physical|"
    "cannot use physical replication slot for logical",
    "senders_exhausted": "number of requested standby connections exceeds ",
    "sync_wait_canceled": "canceling wait for synchronous replication|canceling the wait for synchronous replicat",
    # walreceiver; apply workers and slot synchronization stream and connect too
    "streaming_started": "started streaming WAL from primary at ", "streaming_restarted": "restarted WAL streaming at ",
    "streaming_ended": "replication terminated by primary server|data stream from publisher has ended",
    "streaming_not_started": "could not start WAL streaming: |cannot continue WAL streaming, recovery has already",
    "streaming_failed": "could not receive data from WAL stream: |could not send data to WAL stream: |"
    "could not send end-of-streaming message to primary: |error while shutting down streaming COPY: |"
    "error reading result of streaming command: |unexpected result after CommandComplete: ",
    "connection_failed": "could not connect to the primary server: |could not connect to the publisher: ",
    "primary_refused": "could not receive database system identifier and timeline|"
    "could not receive timeline history file from|database system identifier differs between the primary|"
    "highest timeline |invalid response from primary|primary server contains no more WAL on requested timeline ",
    "receiver_timeout": "terminating walreceiver due to timeout",
    "receiver_stopped": "terminating walreceiver process due to administrator",
    "timeline_fetched": "fetching timeline history file for timeline ",
    "waiting_for_wal": "waiting for WAL to become available at ",
    # slots
    "slot_acquired": "acquired physical replication slot |acquired logical replication slot ",
    "slot_released": "released physical replication slot |released logical replication slot ",
    "slot_created": "created replication slot ", "slot_dropped": "dropped replication slot ",
    "slot_not_created": "could not create replication slot |all replication slots are in use",
    "slot_not_dropped": "could not drop replication slot |could not drop tablesync replication slot ",
    "slot_invalidated": "invalidating slot |invalidating obsolete replication slot ",
    "slot_holder_terminated": "terminating process ",
    "slot_unusable": "can no longer access replication slot |can no longer get changes from replication slot |"
    "cannot read from logical replication slot |too many replication slots active before shutdown",
    "slot_sync_ready": "newly created replication slot ", "slot_sync_skipped": "skipping slot synchronization because ",
    "slot_sync_failed": "could not synchronize replication slot |could not sync slot |"
    "exiting from slot synchronization because |could not fetch failover logical slots info|"
    "could not fetch primary slot name |slot synchronization re|cannot synchronize replication slots |"
    "replication slot synchronization re|replication slot synchronization will ",
    # workers
    "worker_started": "slot sync worker started",
    "worker_stopping": "replication slot synchronization worker will s|"
    "replication slot synchronization worker is shutting down|slot sync worker will s|"
    "slot sync worker is shutting down",
    "worker_restarting": "replication slot synchronization worker will restart|slot sync worker will restart",
    "worker_starting": "starting logical replication worker for subscription ",
    "worker_failed": "logical replication parallel apply worker exited due to error",
    "worker_timeout": "terminating logical replication worker due to timeout",
    "worker_stopped": "terminating logical replication worker due to administrator",
    "worker_serializes": "logical replication apply worker will serialize ",
    "workers_exhausted": "out of logical replication worker slots|out of background worker slots",
    "apply_conflict": "conflict detected on relation ",
    "row_missing": "logical replication did not find row |logical replication could not find row ",
    "skip_started": "logical replication starts skipping transaction at LSN ",
    "skip_completed": "logical replication completed skipping transaction at LSN ",
    "target_unusable": "logical replication target relation |publisher did not send replica identity column ",
    "table_copy_failed": "could not start initial contents copy for table |could not fetch table info for |"
    "table copy could not ",
    # conflicts of recovery with queries
    "recovery_waiting": "recovery still waiting after ", "recovery_wait_ended": "recovery finished waiting after ",
    "statement_canceled": "canceling statement due to conflict with recovery",
    "connection_terminated": "terminating connection due to conflict with recovery",
}  # fmt: skip
#: words behind a name
_EVENTS_OF = {
    "decoding_forwarded": "has been already streamed, forwarding to ",
    "sync_standby": "is now a synchronous standby|is now a candidate for quorum synchronous standby",
    "sync_priority": "now has synchronous standby priority ", "slot_active": "is active for PID ",
    "slot_missing": "does not exist", "slot_not_created": "already exists",
    "slot_unusable": "exists, but |exists on the standby, but |was not created in this database|cannot be advanced|"
    "has been invalidated|does not have active_pid",
    "connection_failed": "could not connect to the primary server: |could not connect to the publisher: ",
    "worker_started": "has started", "worker_finished": "has finished", "worker_stopping": "will stop",
    "worker_restarting": "will restart", "worker_not_started": "will not start|took too long to start",
    "subscription_disabled": "has been disabled because of an error", "skip_cleared": "cleared",
}  # fmt: skip
_SUBJECTS = (
    'standby "', 'replication slot "', 'physical replication slot "', 'subscription "', 'skip-LSN of subscription "',
    "logical replication ", "apply worker for subscription ", "table synchronization worker for subscription ",
    'streaming replication receiver "', 'synchronization worker "',
)  # fmt: skip
_STARTS = [words for all_ in _EVENTS.values() for words in all_.split("|")]
_EVENT_OF = {words: event for event, all_ in (*_EVENTS.items(), *_EVENTS_OF.items()) for words in all_.split("|")}
_LSN = r"[0-9A-F]+/[0-9A-F]+"
#: the longest first: the engine takes the first that fits
_WORDS = "|".join(re.escape(words) for words in sorted(_EVENT_OF, key=len, reverse=True))
#: what a message begins with counts, not what it ends with: "could not …: replication slot "a" does not exist"
_FIRST = (
    rf'(?s)^(?:(?:[A-Za-z -]*(?:standby|slot|subscription|receiver|worker) (?:".*"|\d+)|{_LSN}) )??(?P<event>{_WORDS})'
)
#: processes (backend_type) whose failures are about replication, whatever they say
_REPLICATING = (
    "walreceiver", "slotsync worker", "logical replication worker", "logical replication apply worker",
    "logical replication tablesync worker", "logical replication parallel worker",
)  # fmt: skip
#: how a message calls its process, where there is a shorter name
_PROCESSES = {
    "streaming replication receiver": "walreceiver",  # 18
    "table synchronization worker": "tablesync worker",
    "slot synchronization worker": "slot sync worker",
    "synchronization worker": "slot sync worker",
}
_PROCESS_OF = {
    **dict.fromkeys(("command_received", "standby_connection_lost", "sync_standby", "sync_priority"), "walsender"),
    **dict.fromkeys(("streaming_started", "streaming_restarted", "timeline_fetched"), "walreceiver"),
    **dict.fromkeys(("recovery_waiting", "recovery_wait_ended", "waiting_for_wal"), "startup"),
}
#: in the words of "recovery conflict on …"
_CONFLICTS = {
    "User was holding shared buffer pin for too long.": "buffer pin",
    "User was holding a relation lock for too long.": "lock",
    "User was or might have been using tablespace that must be dropped.": "tablespace",
    "User query might have needed to see row versions that must be removed.": "snapshot",
    "User was using a logical replication slot that must be invalidated.": "replication slot",  # 16
    "User transaction caused buffer deadlock with recovery.": "buffer deadlock",
    "User was connected to a database that must be dropped.": "database",
}
#: why a slot is invalid, in the words of pg_replication_slots.invalidation_reason
_INVALID = {
    "invalidating slot ": "wal_removed",  # 13-15, without DETAIL
    "The slot's restart_lsn ": "wal_removed",
    "The slot conflicted with xid horizon ": "rows_removed",
    "Logical decoding on standby requires ": "wal_level_insufficient",
    "The slot's idle time of ": "idle_timeout",  # 18
}
_APPLYING = "processing remote data for replication "
_DECODING = '", output plugin "'


def _also() -> pl.Expr:
    """Failures in replication that may say anything, and a message that begins with an LSN."""
    import polars as pl

    context = pl.col("context")
    is_about = context.str.contains(_APPLYING, literal=True) | context.str.contains(_DECODING, literal=True)
    is_failure = is_about.fill_null(False) | pl.col("backend_type").is_in(list(_REPLICATING)).fill_null(False)
    is_forwarded = pl.col("message").str.contains(" has been already streamed, forwarding to ", literal=True)
    return (pl.col("severity").is_in(["ERROR", "FATAL", "PANIC"]) & is_failure) | is_forwarded


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    def renamed(name: str, names: dict[str, str]) -> pl.Expr:
        return pl.col(name).replace_strict(names, default=None, return_dtype=pl.String)

    context, statement = pl.col("context"), pl.col("statement")
    is_command = statement.str.contains(r"^(?:START_R|TIMELINE_H|\w+_REPLICATION_SLOT\b|BASE_BACKUP\b|IDENTIFY_SYSTEM)")
    of_command = r'^(?:START_REPLICATION\s+SLOT|\w+_REPLICATION_SLOT)\s+"?([a-z0-9_]+)'
    is_invalid = pl.col("event").is_in(["slot_invalidated", "slot_holder_terminated"])
    said = pl.coalesce("detail", "message")
    return {
        "event": pl.coalesce(
            renamed("event", _EVENT_OF),
            pl.when(context.str.contains(_APPLYING, literal=True)).then(pl.lit("apply_error")),
            pl.when(context.str.contains(_DECODING, literal=True)).then(pl.lit("decoding_error")),
            pl.lit("process_error"),
        ),
        "process": pl.coalesce(pl.col("process").replace(_PROCESSES), renamed("event", _PROCESS_OF)),
        "command": pl.coalesce("command", pl.when(is_command).then(statement)),
        "command_verb": pl.col("command").str.extract(r"^\s*(\w+)"),
        "slot_name": pl.coalesce("slot_name", pl.col("command").str.extract(of_command)),
        "statement": pl.when(~is_command).then(statement),
        "conflict": pl.coalesce("conflict", renamed("detail", _CONFLICTS)),
        "reason": pl.coalesce(
            "reason",
            *(pl.when(is_invalid & said.str.starts_with(words)).then(pl.lit(why)) for words, why in _INVALID.items()),
        ),
        "waiting_since": pl.col("logged_at") - pl.duration(microseconds=pl.col("waited_ms") * 1000),
    }


MESSAGE = MessageType(
    table="replication",
    one_row_per="message about replication, or about a conflict of recovery with queries",
    process="walsender, walreceiver, startup, logical replication workers, slot sync worker, any",
    severities=("LOG", "NOTICE", "WARNING", "ERROR", "FATAL", "DEBUG1", "DEBUG"),
    starts_with=(*_STARTS, *_SUBJECTS),
    also=_also,
    patterns=(
        _FIRST,
        r"^(?:terminating )?(?:logical replication |replication )?(?P<process>walsender|walreceiver|(?:parallel )?apply worker|(?:table |slot )?synchronization worker|slot sync worker|streaming replication receiver)\b",  # noqa: E501
        r"^received replication command: (?P<command>(?s:.*))$",
        rf"^received replication command: START_REPLICATION (?:SLOT \S+ )?(?:PHYSICAL |LOGICAL )?(?P<lsn>{_LSN})(?: TIMELINE (?P<timeline>\d+))?",  # noqa: E501
        rf"^[A-Za-z ]+ at (?:LSN )?(?P<lsn>{_LSN})",
        rf"^(?:requested starting point |skipping slot synchronization because the received slot sync LSN )?(?P<lsn>{_LSN}) (?:on|is|has|for) ",  # noqa: E501
        rf"^(?:[A-Za-z ]+ (?:at|point) {_LSN} on|fetching timeline history file for|highest|primary server contains no more WAL on requested) timeline (?P<timeline>\d+)",  # noqa: E501
        # the text behind the colon is the other server's
        r'^(?:[^":]*: ERROR:  )?[^":]*slot "(?P<slot_name>[^"]*)"',
        r'^[^":]*(?P<slot_type>physical|logical) (?:replication|decoding for) slot "',
        rf'^invalidating slot "[^"]*" because its restart_lsn (?P<restart_lsn>{_LSN}) ',  # 13-15
        r'^(?:terminating process|(?:[^":]*: ERROR:  )?[^":]*slot "[^"]*" is active for PID) (?P<target_pid>\d+)',
        r"^(?:[^:]*: ERROR:  )?requested WAL segment (?P<wal_file>[0-9A-F]+) has already been removed",
        r'^standby "(?P<standby>(?s:.*))" (?:is|now has) ',
        r" (?:with|standby) priority (?P<priority>\d+)$",
        r'(?s)^[A-Za-z -]*subscription "(?P<subscription>.*?)"(?:, table ".*")?(?:$| (?:has|will|could not|cleared)\b)',
        r"^[a-z ]* subscription (?P<subscription_oid>\d+) ",
        r'(?s), table "(?P<relation>.*)" has (?:started|finished)$',
        r'(?s)^(?:table copy could not|could not)[a-z ]* table "(?P<relation>.*?)"(?: from publisher)?: ',
        r'(?s)^logical replication (?:did|could) not [^"]* relation(?:\'s partition)? "(?P<relation>.*)"$',
        r'(?s)^(?:logical replication|publisher did) [^"]*target relation "(?P<relation>.*?)"(?:$| (?P<reason>(?:does not|has|uses|is) .*)$)',  # noqa: E501
        r'(?s)^conflict detected on relation "(?P<relation>.*)": conflict=(?P<conflict>\w+)$',  # 18
        r"^recovery (?:still|finished) waiting after (?P<waited_ms>\d+\.\d+) ms: recovery conflict on (?P<conflict>.*)$",  # noqa: E501  14
        r'(?s)^(?:table copy |[a-z ]+ ".*?" )?(?:could not|error|unexpected result) [^:"]*(?:"[^"]*"[^:"]*)?: (?P<reason>.*)$',  # noqa: E501
        r'(?s)(?:(?: (?:will|is) [a-z ]+|slot synchronization|could not sync[^"]*"[^"]*") because (?:of )?| will restart so that )(?P<reason>.*)$',  # noqa: E501
    ),
    detail_patterns=(
        r"^Conflicting process(?:es)?: (?P<conflicting_pids>[\d, ]+)\.$",
        rf"^End of WAL reached on timeline (?P<timeline>\d+) at (?P<lsn>{_LSN})\.",
        rf"^Streaming transactions committing after (?P<lsn>{_LSN}), reading WAL from (?P<restart_lsn>{_LSN})\.",
        rf"^The slot's restart_lsn (?P<restart_lsn>{_LSN}) exceeds the limit by (?P<over_bytes>\d+) bytes?\.",  # 16
        r"^The slot's idle time of (?P<idle_s>\d+)s exceeds ",  # 18
        r'^This replication slot has been invalidated due to "(?P<reason>\w+)"\.',  # 18
    ),
    context_patterns=(
        rf"^WAL redo at (?P<lsn>{_LSN}) for (?P<redo_resource_manager>[^/]+)/(?P<redo_record_type>[^:]*): ",
        # within a trigger, its lines come first
        r'(?sm)^processing remote data for replication origin "(?P<origin>.*?)" during message type "(?P<remote_change>[^"]*)"',  # noqa: E501
        r'^(?s:.*)processing remote data for replication origin "pg_(?P<subscription_oid>\d+)(?:_\d+)?"',
        r'(?sm)^processing remote data .*?target relation "(?P<relation>.*?)" (?:column "|in transaction \d)',
        rf"(?sm)^processing remote data .*in transaction (?P<remote_xid>\d+)(?:, finished at (?P<lsn>{_LSN}))?$",
        rf'(?m)^slot "(?P<slot_name>[^"]*)", output plugin ".*", in the \w+ callback(?:, associated LSN (?P<lsn>{_LSN}))?$',  # noqa: E501
    ),
    columns={
        "event": Column(f"{', '.join(dict.fromkeys(_EVENT_OF.values()))}, apply_error, decoding_error, process_error"),
        "process": Column("which process, where the message tells: walsender, walreceiver, startup, apply worker …"),
        **{name: RECORD.columns[name] for name in ("backend_type", "severity", "sqlstate", "message", "detail")},
        "reason": Column("why, as said; of an invalid slot in the words of pg_replication_slots.invalidation_reason"),
        "conflict": Column(
            "what recovery conflicts with (snapshot, lock …), or type of an apply conflict, from version 18"
        ),
        "waited_ms": Column("how long recovery has waited by then, from version 14", float, "ms"),
        "waiting_since": Column("when that wait began: logged_at less waited_ms", datetime),
        "conflicting_pids": Column("processes that recovery waits for", list[int], split=", "),
        "redo_resource_manager": Column("resource manager of the WAL record that recovery replays"),
        "redo_record_type": Column("type of that WAL record"),
        "lsn": Column("position in the WAL that the message, its DETAIL or its CONTEXT names", Lsn),
        "restart_lsn": Column("oldest WAL that the slot needs", Lsn),
        "timeline": Column("timeline", int),
        "wal_file": Column("WAL file that is no longer there"),
        "slot_name": Column("replication slot"),
        "slot_type": Column("physical or logical, where the message says"),
        "over_bytes": Column("by how much the slot exceeds max_slot_wal_keep_size, from version 16", int, "bytes"),
        "idle_s": Column("how long the slot was not in use, from version 18", int, "s"),
        "target_pid": Column("process that uses the slot", int),
        "command": Column("the replication command, received or under way"),
        "command_verb": Column("its first word"),
        "standby": Column("application_name of the standby"),
        "priority": Column("its priority in synchronous_standby_names", int),
        "subscription": Column("subscription"),
        "subscription_oid": Column("oid of the subscription; the name of its origin holds it", int),
        "relation": Column("table, with its schema where the message has it, without quotes"),
        "origin": Column("replication origin whose changes are applied, from version 15"),
        "remote_change": Column("kind of change that was applied: INSERT, UPDATE, COMMIT …, from version 15"),
        "remote_xid": Column("transaction of the publisher, from version 15", int),
        "query_id": RECORD.columns["query_id"],
        "statement": Column("the SQL that was cancelled or was running; no replication command"),
        "fingerprint": Column("shape of that SQL (see table query)"),
    },
    keeps=SESSION,
    derive=_derive,
)
