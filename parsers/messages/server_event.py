"""Start, stop, crash, recovery and configuration of the server (postmaster.c, xlogrecovery.c, guc-file.l, hba.c).

One row per message, whichever process wrote it; what came of it is in the rows behind it. ``_EVENTS`` holds the names
of the events, each with the words that its messages begin with.

``is_crash`` follows the server: a process that a signal or an exception ended, or that exited with a code other than 0
or 1, makes the postmaster restart all others; so does code 1 of the four processes that may not end at all. Code 1 of
any other is an orderly end after an error of level FATAL (the logical replication launcher ends so at every shutdown),
and code 2 of archiver and statistics collector, which up to version 13 is logged, is how they end when others crashed.

A session reports a refused setting in the words of the configuration file, at ERROR or FATAL: that is no event of the
server, and only at LOG are those words read. Of DEBUG messages only those of ``_DEBUG_EVENTS`` are.

Limitation: times in messages stay text, since a zone may be abbreviated.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, RECORD, Column
from pgtrace.units import Lsn

if TYPE_CHECKING:
    import polars as pl

#: as the postmaster names them, before " (PID "; from version 18 "server process" is "client backend", "walsender" …
_PROCESSES = (
    "server process", "client backend", "dead-end client backend", "walsender", "startup process",
    "checkpointer process", "background writer process", "WAL writer process", "WAL receiver process",
    "WAL summarizer process", "archiver process", "autovacuum launcher process", "autovacuum worker", "io worker",
    "statistics collector process", "system logger process", "slot sync worker process", "untracked child process",
)  # fmt: skip
#: whose exit with code 1 is a crash too
_NEVER_EXIT = ("checkpointer process", "background writer process", "WAL writer process", "autovacuum launcher process")
_MAY_QUIT = ("archiver process", "statistics collector process")
#: messages that begin with a path (from version 16) or with a value
_NOT_RELOADED = r"^[^\n]+ was not reloaded$"
_OUT_OF_RANGE = r'^\S+(?: \w+)? is outside the valid range for parameter "'

_EVENTS: dict[str, tuple[str, ...]] = {
    # start and stop
    "starting": ("starting PostgreSQL ",), "listening": ("listening on ",),
    "listen_failed": (
        "could not bind ", "could not listen on ", "could not create listen socket for ", "could not create IPv",
        "could not create any ", "could not create Unix-domain socket in ", "no socket created for listening",
    ),
    "start_refused": (
        'lock file "', 'data directory "', "database files are incompatible with server", "pre-existing shared memory",
        "could not create shared memory segment: ", "could not map anonymous shared memory: ",
        "WAL archival cannot be enabled", "WAL streaming (", "postmaster became multithreaded",
    ),
    "log_redirected": ("redirecting log output to ", "ending log output to stderr"),
    "ready": ("database system is ready to accept connections",),
    "ready_read_only": ("database system is ready to accept read",),
    "was_shut_down": ("database system was shut down at ",),
    "was_shut_down_in_recovery": ("database system was shut down in recovery at ",),
    "was_interrupted": ("database system was interrupted; last known up at ",),
    "was_interrupted_in_recovery": ("database system was interrupted while in recovery at ",),
    "shutdown_was_interrupted": ("database system shutdown was interrupted; last known up at ",),
    "crash_recovery": ("database system was not properly shut down; ", "crash recovery starts in timeline "),
    "smart_shutdown": ("received smart shutdown request",), "fast_shutdown": ("received fast shutdown request",),
    "immediate_shutdown": ("received immediate shutdown request", "performing immediate shutdown because "),
    "shutting_down": ("shutting down",), "aborting_transactions": ("aborting any active transactions",),
    "shut_down": ("database system is shut down",),
    "stopped_for_good": (
        "shutting down due to startup process failure", "aborting startup due to startup process failure",
        "shutting down because restart_after_crash is off", 'shutting down because "restart_after_crash" is off',
        "abnormal database system shutdown",
    ),
    # crash
    "process_exited": (*(f"{name} (PID " for name in _PROCESSES), 'background worker "'),
    "terminating_others": ("terminating any other active server processes",),
    "killing_others": ("issuing SIGKILL to recalcitrant", "issuing SIGABRT to recalcitrant"),
    "reinitializing": ("all server processes terminated; reinitializing",),
    "session_terminated": (
        "terminating connection because of crash of another", "terminating connection because of unexpected SIGQUIT",
        "terminating connection due to immediate shutdown",
    ),
    "fork_failed": ("could not fork ",),
    # recovery
    "redo_started": ("redo starts at ",), "redo_progress": ("redo in progress, elapsed time: ",),
    "redo_done": ("redo done at ",), "redo_not_required": ("redo is not required",),
    "checkpoint_record": ("checkpoint record is at ", "redo record is at "),
    "wal_end": (
        "invalid record length at ", "invalid record offset at ", "invalid magic number ", "invalid info bits ",
        "invalid resource manager ID ", "invalid contrecord length ", "invalid block_id ", "record with incorrect ",
        "record with invalid length ", "record length ", "contrecord is requested by ", "there is no contrecord flag",
        "missing contrecord at ", "incorrect resource manager data ", "unexpected pageaddr ", "unexpected timeline ID ",
        "out-of-sequence timeline ID ", "out-of-order block_id ", "WAL file is from different database system: ",
        "BKPBLOCK_", "BKPIMAGE_", "neither BKPIMAGE_", "successfully skipped missing contrecord at ",
    ),
    "consistent": ("consistent recovery state reached at ",), "last_transaction": ("last completed transaction was ",),
    "restart_point": ("recovery restart point at ",), "wal_restored": ('restored log file "',),
    "standby_mode": ("entering standby mode",), "archive_recovery_done": ("archive recovery complete",),
    "archive_recovery_started": ("starting archive recovery", "starting point-in-time recovery to "),
    "backup_recovery_started": ("starting backup recovery with ", "restarting backup recovery with "),
    "backup_recovery_done": ("completed backup recovery with ",),
    "recovery_stopping": ("recovery stopping ",),
    "recovery_paused": ("recovery has paused", "pausing at the end of recovery"),
    "recovery_target_shutdown": ("shutdown at recovery target",),
    "promote_requested": ("received promote request", "promote trigger file found: "),
    "timeline_selected": ("selected new timeline ID: ", "new target timeline is "),
    "sync_progress": ("syncing data directory (",),
    "unlogged_reset_progress": ("resetting unlogged relations (",),
    "prepared_transaction_recovered": ("recovering prepared transaction ",),
    "recovery_failed": (
        "could not locate a valid check", "could not locate required check", "could not find redo location ",
        "invalid checkpoint ", "invalid primary checkpoint ", "invalid length of ch", "invalid resource manager ID in ",
        "invalid xl_info in ", "unexpected previous timeline ID ", "WAL ends before ", "WAL was generated with ",
        "recovery ended before configured ", "recovery target timeline ", "requested timeline ", "new timeline ",
        "requested recovery stop point ", "backup_label contains data ", "online backup was canceled, recovery ",
        "recovery aborted because of ", "hot standby is not possible ", "promotion is not possible ",
        "must specify restore_command ", "specified neither primary_conninfo ", "using recovery command file ",
        "multiple recovery targets specified",
    ),
    # checkpoints
    "checkpoints_too_frequent": ("checkpoints are occurring too frequently (",),
    "checkpoint_skipped": ("checkpoint skipped because system is idle",),
    "checkpoint_failed": ("checkpoint request failed",), "restore_point": ('restore point "',),
    # configuration
    "reload": ("received SIGHUP, reloading configuration files",),
    "parameter_changed": (), "parameter_reset": (), "parameter_needs_restart": (),  # see _PARAMETER_EVENTS
    "parameter_invalid": ('parameter "', 'invalid value for parameter "'),
    "parameter_unknown": ('unrecognized configuration parameter "', 'invalid configuration parameter name "'),
    "file_error": (
        'syntax error in file "', "too many syntax errors found, abandoning file ", "configuration file recursion in ",
        'could not open configuration file "', 'could not open configuration directory "',
        'skipping missing configuration file "', 'skipping missing authentication file "',
    ),
    "configuration_errors": ('configuration file "',),
    "authentication_file_error": (
        "invalid authentication method ", "invalid connection type ", "invalid IP ", "invalid CIDR mask in address ",
        'invalid regular expression "', "end-of-line before ", "multiple values ", "hostssl record ",
        "hostgssenc record ", "gssapi authentication is ", "peer authentication is ", "cert authentication is ",
        "specifying both host name and ", "IP address and mask ", "authentication option ", "authentication method ",
        "authentication file ", "unrecognized authentication option ", 'missing entry in file "', "clientcert ",
        "clientname ", "invalid value for clientcert", "could not load pg_hba.conf", "could not load /",
        "could not open usermap file ", "could not open secondary authentication file ",
    ),
    "authentication_not_reloaded": ("pg_hba.conf was not reloaded", "pg_ident.conf was not reloaded"),
    "ssl_error": (
        "SSL configuration was not reloaded", 'private key file "', "could not access private key file ",
        "could not load server certificate ", "could not load private key ", "could not load root certificate ",
        "could not load SSL certificate ",
    ),
    # launchers and what else the server says of itself
    "launcher_started": ("autovacuum launcher started", "logical replication launcher started"),
    "launcher_stopped": ("autovacuum launcher shutting down", "logical replication launcher shutting down"),
    "background_worker_refused": ("too many background workers",),
    "background_worker_terminated": ('terminating background worker "',),
    "stale_statistics": ("using stale statistics instead of current ones",),
    "corrupted_statistics": ('corrupted statistics file "',),
    "online_backup_canceled": ("online backup mode canceled",),
    "barrier_wait": ("still waiting for backend with PID ",),
    "out_of_file_descriptors": ("out of file descriptors: ",),
}  # fmt: skip
_EVENT_OF = {literal: event for event, literals in _EVENTS.items() for literal in literals}
#: sessions say the same when they refuse a setting or a file
_ONLY_AT_LOG = [literal for literal, event in _EVENT_OF.items() if event.startswith(("parameter_", "file_", "auth"))]
_DEBUG_EVENTS = ("launcher_started", "launcher_stopped", "checkpoint_record", "checkpoint_skipped")
_PARAMETER_EVENTS = {
    "changed to": "parameter_changed", "removed from": "parameter_reset",
    "cannot be changed without": "parameter_needs_restart",
}  # fmt: skip
#: the longest first: the engine takes the first that fits
_BEGINNING = "|".join(re.escape(literal) for literal in sorted(_EVENT_OF, key=len, reverse=True))
_FIRST = rf"^(?P<event>{_BEGINNING}|{_NOT_RELOADED[1:]}|{_OUT_OF_RANGE[1:]})"
_LSN = r"[0-9A-F]+/[0-9A-F]+"


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    of_parameter = pl.col("message").str.extract(rf'^parameter "[^"]*" ({"|".join(_PARAMETER_EVENTS)})')
    named = pl.coalesce(
        of_parameter.replace_strict(_PARAMETER_EVENTS, default=None, return_dtype=pl.String),
        pl.col("event").replace_strict(_EVENT_OF, default=None, return_dtype=pl.String),
        pl.when(pl.col("message").str.contains(_NOT_RELOADED)).then(pl.lit("authentication_not_reloaded")),
        pl.lit("parameter_invalid"),
    )
    has_ended = pl.col("process_pid").is_not_null()
    is_worker = pl.col("event") == 'background worker "'
    process = pl.col("process")
    allowed = pl.when(process.is_in(_NEVER_EXIT)).then(0).when(process.is_in(_MAY_QUIT)).then(2).otherwise(1)
    return {
        "event": pl.when(is_worker & ~has_ended).then(pl.lit("background_worker_refused")).otherwise(named),
        "is_crash": pl.when(has_ended).then((pl.col("exit_code") > allowed).fill_null(True)),
    }


def _also() -> pl.Expr:
    import polars as pl

    return (pl.col("severity") == "LOG") & pl.col("message").str.contains(f"{_NOT_RELOADED}|{_OUT_OF_RANGE}")


def _read(records: pl.DataFrame) -> pl.DataFrame:
    """The rows of records whose words are those of an event at their severity."""
    import polars as pl

    severity = pl.col("severity")
    said = pl.when(severity != "LOG").then("message").str.extract(_FIRST)
    is_event = (
        pl.when(severity == "DEBUG")
        .then(said.replace_strict(_EVENT_OF, default=None).is_in(_DEBUG_EVENTS))
        .when(severity == "ERROR")
        .then(said == "checkpoint request failed")
        .otherwise((severity == "LOG") | ~said.is_in(_ONLY_AT_LOG))
    )
    return _BY_PATTERNS.read(records.filter(is_event))


_BY_PATTERNS = MessageType(
    table="server_event",
    one_row_per="event in the life of the server or of its configuration",
    process="postmaster, startup, checkpointer, any",
    severities=("LOG", "WARNING", "ERROR", "FATAL", "PANIC", "DEBUG"),
    starts_with=tuple(_EVENT_OF),
    also=_also,
    patterns=(
        _FIRST,
        r"^starting PostgreSQL (?P<server_version>\S+)",
        r'^listening on Unix socket "(?P<path>.*)"$',
        r"^could not fork (?P<process>.+?): ",
        r"^(?P<process>(?s:.*)) \(PID (?P<process_pid>\d+)\) (?:was terminated by|exited with) ",
        r"\) was terminated by signal (?P<signal>\d+): (?P<signal_name>.*)$",
        r"\) was terminated by exception (?P<exception_code>0x[0-9A-Fa-f]+)$",
        r"\) exited with exit code (?P<exit_code>\d+)$",
        rf"^(?:redo (?:starts|done|record is)|checkpoint record is|consistent recovery state reached|recovery restart point) at (?P<lsn>{_LSN})",  # noqa: E501
        rf"^redo in progress, elapsed time: (?P<elapsed_s>[\d.]+) s, current LSN: (?P<lsn>{_LSN})",  # 15
        rf'^restore point "(?P<restore_point>(?s:.*))" created at (?P<lsn>{_LSN})$',
        rf"^could not (?:locate|find) .* record at (?P<lsn>{_LSN})$",  # 16
        rf"^\w+ backup recovery with redo LSN (?P<redo_lsn>{_LSN})(?:,? [a-z ]+ LSN (?P<lsn>{_LSN}))?",  # 15
        # why the WAL that is there ends here
        rf"^(?:invalid|record|contrecord|there is|missing|incorrect|unexpected|out-of|successfully|BKP|neither)\b.* (?:at|by|LSN) (?P<lsn>{_LSN})",  # noqa: E501
        r'^[^"]* in (?:log|WAL) segment (?P<wal_file>[0-9A-F]{24})',
        r'^restored log file "(?P<wal_file>.*)" from archive$',
        r" system usage: CPU: user: (?P<cpu_user_s>[\d.]+) s, system: (?P<cpu_system_s>[\d.]+) s, elapsed: (?P<elapsed_s>[\d.]+) s$",  # noqa: E501  14
        r"^(?:syncing data directory|resetting unlogged relations) \(.*?\), elapsed time: (?P<elapsed_s>[\d.]+) s, current path: (?P<path>(?s:.*))$",  # noqa: E501  15
        r"(?:new timeline ID:|new target timeline is|on timeline ID) (?P<timeline>\d+)$",
        r"^(?:database system .*|last completed transaction was) at (?:log time )?(?P<said_time>\d{4}-.*)$",
        r"^(?:starting point-in-time recovery to|recovery stopping) (?P<target>.*?)(?:, time (?P<said_time>.*))?$",
        r"^promote trigger file found: (?P<path>.*)$",  # 12-15
        r"^checkpoints are occurring too frequently \((?P<gap_s>\d+) seconds? apart\)$",
        r'^(?:parameter|invalid value for parameter|unrecognized configuration parameter|invalid configuration parameter name) "(?P<parameter>[^"]*)"',  # noqa: E501
        r'^parameter "[^"]*" changed to "(?P<value>(?s:.*))"$',
        r'^invalid value for parameter "[^"]*": "?(?P<value>(?s:.*?))"?$',
        r'^(?:unrecognized configuration parameter "[^"]*"|syntax error|missing entry) in file "(?P<file_name>.*)" (?:at end of )?line (?P<file_line_no>\d+)',  # noqa: E501
        r'^(?:configuration|too many syntax errors|could not open configuration|could not open usermap|skipping missing).*? (?:file|directory|in) "(?P<file_name>.*?)"',  # noqa: E501
        r'^configuration file "(?P<file_name>.*)" contains errors',
        r"^(?P<file_name>.*[/\\].*|pg_\w+\.conf) was not reloaded$",
        r'^(?P<value>\S+(?: \w+)?) is outside the valid range for parameter "(?P<parameter>[^"]*)"',
    ),
    detail_patterns=(
        r"^Failed process was running: (?P<statement>(?s:.*))$",
        r"^Last completed transaction was at log time (?P<said_time>.*)\.$",
    ),
    context_patterns=(r'^line (?P<file_line_no>\d+) of configuration file "(?P<file_name>.*)"$',),
    columns={
        "event": Column(f"what happened: {', '.join(_EVENTS)}"),
        "severity": RECORD.columns["severity"],
        "message": RECORD.columns["message"],
        "detail": RECORD.columns["detail"],
        "process": Column("the process that ended or could not be started, as the postmaster names it"),
        "process_pid": Column("its process id", int),
        "signal": Column("number of the signal that ended it", int),
        "signal_name": Column("name of that signal, as the system calls it"),
        "exception_code": Column("exception that ended it, on Windows"),
        "exit_code": Column("its exit code", int),
        "is_crash": Column("whether its end was a crash: by signal, or by an exit code that it may not end with", bool),
        "statement": Column("the SQL that it was running, cut off at track_activity_query_size"),
        "fingerprint": Column("shape of that SQL (see table query)"),
        "parameter": Column("name of the setting"),
        "value": Column("its new value, or the one that was refused"),
        "file_name": Column("the configuration file"),
        "file_line_no": Column("line of that file", int),
        "lsn": Column("position in the WAL that the message names", Lsn),
        "redo_lsn": Column("where recovery of a backup begins, from version 15", Lsn),
        "wal_file": Column("WAL file, restored from the archive or found to end"),
        "timeline": Column("timeline", int),
        "target": Column("where recovery is to stop, or has stopped, as printed"),
        "restore_point": Column("name of the restore point"),
        "said_time": Column("time that the message names, as printed: last known up, shut down, last transaction"),
        "elapsed_s": Column("how long redo or the step before it took so far", float, "s"),
        "cpu_user_s": Column("CPU of redo, user, from version 14", float, "s"),
        "cpu_system_s": Column("CPU of redo, system, from version 14", float, "s"),
        "gap_s": Column("time between two checkpoints that WAL brought about", int, "s"),
        "server_version": Column("version of PostgreSQL"),
        "path": Column("socket, promote trigger file, or file that was being synced or reset"),
    },
    keeps=PROCESS,
    derive=_derive,
)
#: everything is read by the patterns, behind a choice of records
MESSAGE = replace(_BY_PATTERNS, read_with=_read, derive=None)
