"""Archiving of WAL files, and the commands of recovery that go with it (archive_command, archive_library,
restore_command, archive_cleanup_command, recovery_end_command; pgarch.c, shell_archive.c, xlogarchive.c).

At its usual level the server says only what fails: a file that was archived is told at log_min_messages = debug1, one
that restore_command did not find at debug2 (it asks for files that there may not be). The command is run
again up to three times, each failure is a row, then the archiver gives up for a minute (WARNING). Where the command was
ended by a signal, or its exit code is above 125, the archiver ends too (FATAL) and the postmaster starts it again. A
shell reports a signal of what it ran as exit code 128 + signal; ``signal`` is filled only where the server names one.
Files that were restored are in table server_event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtrace.message import MessageType
from pgtrace.schema import PROCESS, RECORD, Column

if TYPE_CHECKING:
    import polars as pl

_OUTCOMES = {
    "archive command failed": "failed",
    "archive command was terminated": "failed",
    "archive command exited": "failed",
    "archiving write-ahead log file": "gave up",
    "archived write-ahead log file": "archived",
    "archived": "archived",
    "archive_mode enabled": "not configured",
    "restarting archiver process": "restarting",
    "could not restore file": "failed",
    "archive file": "failed",
    "removed orphan archive status file": "orphan removed",
    "removal of orphan archive status file": "orphan kept",
    "recovery_end_command": "failed",
    "archive_cleanup_command": "failed",
}
_OPERATIONS = {
    "could not restore file": "restore",
    "archive file": "restore",
    "recovery_end_command": "recovery end",
    "archive_cleanup_command": "cleanup",
}
#: a segment, also partial or a backup's label, or the history of a timeline
_WAL_FILE = r"[0-9A-F]{24}(?:\.[0-9A-F]{8}\.backup|\.partial)?|[0-9A-F]{8}\.history"


def _derive() -> dict[str, pl.Expr]:
    import polars as pl

    said = pl.col("outcome")
    # basic_archive: of the same contents, so that the server goes on
    is_there = pl.col("message").str.contains(r'^archive file ".*" already exists')
    is_done = pl.col("message").str.ends_with(" with identical contents")
    outcome = said.replace_strict(_OUTCOMES, default=None, return_dtype=pl.String)
    operation = said.replace_strict(_OPERATIONS, default="archive", return_dtype=pl.String)
    return {
        "operation": pl.when(is_there).then(pl.lit("archive")).otherwise(operation),
        "outcome": pl.when(is_there & is_done).then(pl.lit("archived")).otherwise(outcome),
    }


MESSAGE = MessageType(
    table="archive",
    one_row_per="message about an archived or restored WAL file, or about a command of recovery",
    process="archiver, startup, checkpointer",
    severities=("LOG", "WARNING", "ERROR", "FATAL", "DEBUG"),
    starts_with=(
        "archive command ",
        "archiving write-ahead log file ",
        "archived write-ahead log file ",
        'archived "',
        "archive_mode enabled, ",
        "restarting archiver process ",
        'could not restore file "',
        'archive file "',
        "removed orphan archive status file ",
        "removal of orphan archive status file ",
        'recovery_end_command "',
        'archive_cleanup_command "',
    ),
    patterns=(
        rf"^(?P<outcome>{'|'.join(_OUTCOMES)})",
        rf'^(?:archiv|could not restore|remov)[^"]* "(?:[^"]*/)?(?P<wal_file>{_WAL_FILE})',
        r"(?:archive command failed|child process exited) with exit code (?P<exit_code>\d+)$",
        r" was terminated by signal (?P<signal>\d+): (?P<signal_name>.*)$",
        r" was terminated by exception (?P<exception_code>0x[0-9A-Fa-f]+)$",
        r'^(?:recovery_end|archive_cleanup)_command "(?P<command>(?s:.*))": (?:child process|command not) ',
        r'^archive file ".*" has wrong size: (?P<size_bytes>\d+) instead of (?P<expected_bytes>\d+)$',
    ),
    detail_patterns=(
        r"^The failed archive command was: (?P<command>(?s:.*))$",
        rf"^The failed archive command was: (?s:.*?)\b(?P<wal_file>{_WAL_FILE})\b",
    ),
    columns={
        "severity": RECORD.columns["severity"],
        "operation": Column("archive, restore, cleanup (archive_cleanup_command) or recovery end"),
        "outcome": Column(
            "archived, failed, gave up (after three failures, for a minute), not configured, restarting (the "
            "archiver), orphan removed or orphan kept (status files without a WAL file)"
        ),
        "wal_file": Column("the file; null where neither message nor command shows its name"),
        "exit_code": Column("exit code of the command", int),
        "signal": Column("number of the signal that ended it", int),
        "signal_name": Column("name of that signal"),
        "exception_code": Column("exception that ended it, on Windows"),
        "command": Column("the command, as it was run"),
        "size_bytes": Column("size of a restored file that was not as expected", int, "bytes"),
        "expected_bytes": Column("size that was expected", int, "bytes"),
        "message": RECORD.columns["message"],
        "detail": RECORD.columns["detail"],
    },
    keeps=PROCESS,
    derive=_derive,
)
