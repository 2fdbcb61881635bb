"""The server log in systemd's journal, as ``journalctl -o json --all`` prints it: one object for each line.

What the server writes to stderr arrives line by line (longer ones in pieces, see _LINE_BREAK), and what it sends to
syslog (log_destination = syslog) begins with ``[5-1]``: the number of the message in its process and of the piece in
the message, cut at line ends and after 900 bytes. Source: journalctl(1), systemd.journal-fields(7), ``write_syslog`` in
src/backend/utils/error/elog.c.

Limitations: journald before version 236 strips the TAB from lines that go on with a message, so only its first line is
read. The journal drops blank lines, and blanks at the end of what syslog sends. A piece that was cut at a TAB is taken
for a new line.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.jsonlines import (
    NO_OBJECT,
    begins_record,
    first_lines,
    inner_prefix,
    objects,
    sample,
    says_time,
    text_in,
    with_pieces_joined,
    with_reasons,
)
from pgtrace.logformat import LogFormat, Parsed, Reading

_KEYS = (
    "MESSAGE", "__REALTIME_TIMESTAMP", "_PID", "SYSLOG_PID", "SYSLOG_IDENTIFIER", "_TRANSPORT", "_LINE_BREAK"
)  # fmt: skip
_NUMBER = r"^\[\d+-(\d+)\](?: |$)"
_NUMBERED = re.compile(_NUMBER)
#: a message that is no UTF-8 or has control characters comes as numbers, one for each byte
_BYTES = r"^\[\d+(?:, ?\d+)*\]$"
#: bytes at the end of a buffer in which lines of processes that write at once may still be missing
_SETTLED = 64 * 1024
_LEFT_OUT = "a long message that journalctl left out: use journalctl -o json --all"
_OTHER_PROGRAM = "another program's line"
_NO_ENTRY = "no entry of the journal"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Objects with "MESSAGE" and "__REALTIME_TIMESTAMP". Raises UnknownFormatError, TimeZoneError."""
    found = [entry["MESSAGE"] for entry in sample(head, "MESSAGE", "__REALTIME_TIMESTAMP")]
    texts = (_NUMBERED.sub("", text) for text in found if isinstance(text, str))
    prefix = inner_prefix(texts, asked, has_pid=True)
    if prefix is None:
        return None
    reading = Reading("journald", prefix=prefix, timezone=asked.timezone)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where an entry begins a record, and so do the first ones of all processes behind it."""

    def look(line: bytes) -> tuple[object, bool] | None:
        text, pid = text_in(line, "MESSAGE"), text_in(line, "_PID")
        if text is None:
            return None
        number = _NUMBERED.match(text)
        own = text if number is None else text[number.end() :]
        if begins_record(own, reading.prefix or ""):
            return pid, True
        goes_on = number is not None or own.startswith("\t") or begins_record(own, reading.prefix or "", follow_up=True)
        return (pid, False) if goes_on else None

    return last_whole(buffer, look, _SETTLED)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    prefix = reading.prefix or ""
    found = objects(clean_utf8(chunk), dict.fromkeys(_KEYS, pl.String), first_line)
    pid = pl.coalesce("_PID", "SYSLOG_PID").cast(pl.Int64, strict=False)
    goes_on = pl.col("_LINE_BREAK").is_in(["line-max", "pid-change"]).shift(1).over("_PID")
    entries = with_pieces_joined(
        found.select(
            "line_no",
            "line",
            _decoded(found["MESSAGE"]).alias("text"),
            goes_on.fill_null(False).alias("goes_on"),
            pid.alias("owner"),
            pid.alias("pid"),
            "_TRANSPORT",
        )
    )
    entries = _without_numbers(entries)
    if not says_time(prefix):
        entries = entries.with_columns(_times(found["__REALTIME_TIMESTAMP"]).alias("logged_at"))
    return _explained(read_enveloped(entries, prefix, reading.timezone), found)


def _decoded(messages: pl.Series) -> pl.Series:
    """Messages of bytes as text; there are few."""
    where = messages.str.contains(_BYTES).fill_null(False).arg_true()
    if where.is_empty():
        return messages
    letters = messages.gather(where).str.json_decode(pl.List(pl.Int64)).cast(pl.List(pl.UInt8), strict=False)
    texts = [clean_utf8(bytes(code or 0 for code in message)).decode() for message in letters]
    return messages.scatter(where, texts)


def _without_numbers(entries: pl.DataFrame) -> pl.DataFrame:
    """What was sent to syslog, without its ``[5-1]``; a piece goes on with the one before it, or begins a line."""
    number = pl.when((pl.col("_TRANSPORT") != "stdout").fill_null(True)).then(pl.col("text").str.extract(_NUMBER, 1))
    entries = entries.with_columns(number.cast(pl.Int64, strict=False).alias("number"))
    own = pl.col("text").str.replace(_NUMBER, "")
    # a blank line is all that can be empty, for a TAB at the end is not kept
    own = pl.when((own == "") & (pl.col("number") > 1)).then(pl.lit("\t")).otherwise(own)
    return entries.with_columns(
        pl.when(pl.col("number").is_not_null()).then(own).otherwise("text").alias("text"),
        (pl.col("goes_on") | (pl.col("number") > 1).fill_null(False)).alias("goes_on"),
    ).drop("number", "_TRANSPORT")


def _times(microseconds: pl.Series) -> pl.Series:
    return microseconds.cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))


def _explained(parsed: Parsed, found: pl.DataFrame) -> Parsed:
    """Why a line is unparsed, where the journal itself says more than the text."""
    programs = found.join(parsed.records.select("line_no"), on="line_no", how="semi")["SYSLOG_IDENTIFIER"].unique()
    is_other = ~pl.col("SYSLOG_IDENTIFIER").is_in(programs.drop_nulls().implode())
    other = (
        pl.when(~pl.col("is_object"))
        .then(pl.lit(NO_OBJECT))
        .when(pl.col("MESSAGE").is_null() & pl.col("__REALTIME_TIMESTAMP").is_null())
        .then(pl.lit(_NO_ENTRY))
        .when(pl.col("MESSAGE").is_null())
        .then(pl.lit(_LEFT_OUT))
        .when(is_other)
        .then(pl.lit(_OTHER_PROGRAM))
    )
    return with_reasons(parsed, found.select("line_no", other.alias("other")))


FORMAT = LogFormat(name="journald", rank=3, sniff=sniff, last_record=last_record, read=read)
