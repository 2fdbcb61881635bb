"""log_line_prefix, compiled: one pattern that reads the head of a line into columns of the record table.

Source: the setting log_line_prefix and ``log_status_format`` in src/backend/utils/error/elog.c, versions 12 to 18.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from pgtrace.errors import UsageError

#: levels that begin a record, as elog.c prints them (DEBUG has its level from log_min_messages only in csvlog names)
SEVERITIES = (
    "LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO",
    "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5",
)  # fmt: skip
#: lines that go on with the record before them, and the column each one fills
FOLLOW_UPS = {
    "DETAIL": "detail",
    "HINT": "hint",
    "CONTEXT": "context",
    "STATEMENT": "statement",
    "QUERY": "internal_query",
    "LOCATION": "location",
    "BACKTRACE": "backtrace",
}
#: what stands between a line's head and its text
SEPARATOR = ":  "

#: a time zone as strftime's %Z prints it: an abbreviation or a numeric offset
ZONE = r"(?:[A-Za-z]{2,10}|[+-]\d{2}(?::?\d{2}){0,2})"
_TIME = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"

#: %b: ``GetBackendTypeDesc`` in src/backend/utils/init/miscinit.c, and background workers that come with PostgreSQL
_BACKEND_TYPES = (
    "client backend", "postmaster", "not initialized", "autovacuum launcher", "autovacuum worker", "background worker",
    "background writer", "checkpointer", "startup", "walwriter", "walsender", "walreceiver", "walsummarizer",
    "archiver", "logger", "stats collector", "io worker", "slotsync worker", "standalone backend",
    "dead-end client backend", "parallel worker", "logical replication launcher", "logical replication worker",
    "logical replication apply worker", "logical replication parallel apply worker",
    "logical replication tablesync worker", "pg_cron launcher", "pg_cron",
)  # fmt: skip
#: %i: what the process title says, the command tags of src/include/tcop/cmdtaglist.h and the states of a session
_COMMAND_TAGS = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT",
    "RELEASE", "COPY", "PREPARE TRANSACTION", "PREPARE", "EXECUTE", "DEALLOCATE", "BIND", "PARSE", "FETCH", "MOVE",
    "DECLARE CURSOR", "CLOSE CURSOR", "SET", "SHOW", "RESET", "DISCARD ALL", "DISCARD", "LOCK TABLE", "VACUUM",
    "ANALYZE", "EXPLAIN", "CALL", "DO", "CHECKPOINT", "LISTEN", "UNLISTEN", "NOTIFY", "TRUNCATE TABLE", "REINDEX",
    "CLUSTER", "REFRESH MATERIALIZED VIEW", "GRANT", "REVOKE", "COMMENT", "ALTER SYSTEM",
    r"(?:CREATE|ALTER|DROP) [A-Z ]+[A-Z]", "START_REPLICATION", r"streaming [0-9A-F]+/[0-9A-F]+", "BASE_BACKUP",
    "authentication", "initializing", "startup",
    r"idle in transaction \(aborted\)", "idle in transaction", "idle", "fastpath function call", r"/[\w./-]+/postgres",
    r"[A-Z]+ waiting",
)  # fmt: skip
BACKEND_TYPE = "|".join(sorted(_BACKEND_TYPES, key=len, reverse=True))
COMMAND_TAG = "|".join(sorted(_COMMAND_TAGS, key=len, reverse=True))
#: those that hold blanks; the others end at a blank by themselves
_WORDS_TYPE = "|".join(text for text in sorted(_BACKEND_TYPES, key=len, reverse=True) if " " in text)
_WORDS_TAG = "|".join(text for text in sorted(_COMMAND_TAGS, key=len, reverse=True) if " " in text)

#: an address is taken as a whole where it can be, as IPv6 has colons; the name of a host is anything but blanks
_HOST = r"\[local\]|[0-9a-fA-F]*(?::[0-9a-fA-F]*)+:[0-9a-fA-F.]+(?:%\w+)?|[^ ]*?"
# A process without a session prints nothing for %a %u %d %r %h %i, a client before its startup packet [unknown]; %v and
# %P are often empty, and an escape that the server is too old to know prints nothing. Texts that PostgreSQL itself
# makes are tried first, as they hold blanks.
_ESCAPES = {
    "a": r"(?P<application_name>.*?)",
    "u": r"(?P<user_name>.*?)",
    "d": r"(?P<database_name>.*?)",
    "r": rf"(?P<client_host>{_HOST})(?:\((?P<client_port>\d+)\))?",
    "h": rf"(?P<client_host>{_HOST})",
    "L": rf"(?P<_local>{_HOST})",  # version 18: the server's own address, [local], or [none] without a client
    "b": rf"(?P<backend_type>{_WORDS_TYPE}|.*?)",  # version 13
    "p": r"(?P<pid>\d+)",
    "P": r"(?P<leader_pid>\d*)",  # version 14
    "t": rf"(?P<time>{_TIME}) (?P<zone>{ZONE})",
    "m": rf"(?P<time>{_TIME}\.\d{{3}}) (?P<zone>{ZONE})",
    "n": r"(?P<epoch>\d+\.\d{3})",
    "s": rf"(?P<session_time>{_TIME}) (?P<session_zone>{ZONE})",
    "i": rf"(?P<command_tag>{_WORDS_TAG}|.*?)",
    "e": r"(?P<sqlstate>[0-9A-Z]{5})",
    "c": r"(?P<session_id>[0-9a-f]+\.[0-9a-f]+)",
    "l": r"(?P<session_line_no>\d+)",
    "v": r"(?P<vxid>(?:-?\d+/\d+)?)",
    "x": r"(?P<xid>\d+)",
    "Q": r"(?P<query_id>(?:-?\d+)?)",  # version 14
}
#: escapes that begin a prefix with a time of fixed width: characters to cut, strptime-free
_LEADING_WIDTH = {"m": 23, "t": 19, "n": 14}
_TOKEN = re.compile(r"%(?P<pad>-?\d*)(?P<escape>.)|(?P<literal>[^%]+)|(?P<lone>%)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A compiled log_line_prefix.

    ``pattern`` reads a whole head, from the first character of the line up to and with the severity word;
    ``rest_pattern`` reads it without the first ``leading_width`` characters, which are the time (0: the time does not
    come first, or has no fixed width). ``fields`` are the named groups. Both patterns work in Python and in Rust.
    """

    text: str
    pattern: str
    rest_pattern: str
    leading_width: int
    leading_escape: str | None
    fields: tuple[str, ...]


@cache
def compile_prefix(text: str) -> Prefix:
    """Compile a log_line_prefix. Raises UsageError where it holds an escape that no version knows.

    What a process without a session prints is allowed for: everything behind ``%q`` may be missing.
    """
    pieces: list[str] = []
    seen: dict[str, None] = {}
    optional_from: int | None = None
    escapes: list[str] = []
    for token in _TOKEN.finditer(text):
        if token["literal"] is not None:
            pieces.append(re.escape(token["literal"]))
        elif token[0] == "%%":
            pieces.append("%")
        elif token["escape"] == "q":
            optional_from = len(pieces) if optional_from is None else optional_from
        elif token["escape"] in _ESCAPES:
            escapes.append(token["escape"])
            pieces.append(_padded(_once(_ESCAPES[token["escape"]], seen), token["pad"]))
        else:
            raise UsageError(
                f"log_line_prefix '{text}': {token[0]} is not an escape of PostgreSQL 12 to 18; "
                "the server prints nothing for it, so leave it out"
            )
    leading = text[1] if len(text) > 1 and text[0] == "%" and text[1] in _LEADING_WIDTH else None
    severity = rf"(?P<severity>{'|'.join(SEVERITIES)}|{'|'.join(FOLLOW_UPS)})"
    whole = _joined(pieces, optional_from)
    rest = whole
    if leading is not None:
        zone = "" if leading == "n" else rf" (?P<zone>{ZONE})"
        rest = _joined([zone, *pieces[1:]], optional_from)
    return Prefix(
        text=text,
        pattern=rf"(?s)^{whole}{severity}$",
        rest_pattern=rf"(?s)^{rest}{severity}$",
        leading_width=_LEADING_WIDTH[leading] if leading else 0,
        leading_escape=leading,
        fields=tuple(name for name in seen if not name.startswith("_")),
    )


def _joined(pieces: list[str], optional_from: int | None) -> str:
    if optional_from is None:
        return "".join(pieces)
    return f"{''.join(pieces[:optional_from])}(?:{''.join(pieces[optional_from:])})?"


def _padded(pattern: str, pad: str) -> str:
    """``%-5p`` fills up with blanks on the right, ``%5p`` on the left; a missing value is all blanks."""
    if pad.strip("-0") == "":
        return pattern
    return rf"(?:{pattern}) *" if pad.startswith("-") else rf" *(?:{pattern})"


def _once(pattern: str, seen: dict[str, None]) -> str:
    """A field that is printed twice (%r and %h, %t and %m) is read the first time only."""

    def name_or_nothing(match: re.Match[str]) -> str:
        if match[1] in seen:
            return "(?:"
        seen[match[1]] = None
        return match[0]

    return re.sub(r"\(\?P<(\w+)>", name_or_nothing, pattern)
