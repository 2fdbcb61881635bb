"""The server log as PostgreSQL writes it to stderr (log_destination = stderr), with any log_line_prefix.

A record is a line with a level (LOG, ERROR, …), the lines that go on with it (they begin with a TAB), and its DETAIL,
HINT, CONTEXT, STATEMENT, QUERY, LOCATION and BACKTRACE lines. In another language than English (lc_messages) these
words are others. Source: src/backend/utils/error/elog.c, ``send_message_to_server_log``.

Limitations: a message that is written while another process's message is half written (no logging collector) is
put back together by pid; its TAB lines are not.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from pgtrace.assembly import as_csvlog, assembled, numbered, unparsed, with_pid
from pgtrace.encoding import clean_utf8
from pgtrace.errors import UnknownFormatError
from pgtrace.heads import read_heads
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.memorydump import dump_before, with_memory_dumps
from pgtrace.prefix import FOLLOW_UPS, SEPARATOR, compile_prefix
from pgtrace.prefix_detection import detect_prefix, match_share
from pgtrace.translations import detect_language, english_line, english_lines

_SAMPLE = 200
_NEWLINE, _TAB, _CR = b"\n\t\r"
_ADVICE = "set log_line_prefix = '%m [%p] %q%u@%d/%a ' and reload the server"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """A stderr log has lines with a level and two blanks behind its colon. Raises UnknownFormatError, TimeZoneError."""
    text = clean_utf8(head).decode()
    language = detect_language(text)
    if language is not None:
        text = "\n".join(english_line(line, language) for line in text.split("\n"))
    if re.search(rf"(?m)^[^\t\n].*?(?:LOG|ERROR|FATAL|PANIC|WARNING|DETAIL|HINT|STATEMENT){SEPARATOR}", text) is None:
        return None
    prefix = asked.prefix if asked.prefix is not None else detect_prefix(text)
    if prefix is None:
        return None
    if asked.prefix is not None and match_share(prefix, text) == 0:
        found = detect_prefix(text)
        hint = f"; the lines look like --prefix '{found}'" if found else ""
        raise UnknownFormatError(f"log_line_prefix '{prefix}' reads none of its lines{hint}")
    _refuse_blind(prefix)
    line_end = b"\r\n" if head.count(b"\r\n") * 2 > head.count(b"\n") else b"\n"
    reading = Reading("stderr", prefix, asked.timezone, line_end, language=language)
    sample = head[: head.rfind(b"\n") + 1] or head
    read(b"".join(sample.splitlines(keepends=True)[:_SAMPLE]), reading, 1)  # a zone that needs an option shows here
    return reading


def _refuse_blind(prefix: str) -> None:
    fields = compile_prefix(prefix).fields
    if "time" not in fields and "epoch" not in fields:
        raise UnknownFormatError(f"log_line_prefix '{prefix}' has no time, so nothing can be correlated: {_ADVICE}")
    if "pid" not in fields and "session_id" not in fields:
        raise UnknownFormatError(
            f"log_line_prefix '{prefix}' has no process id, so lines cannot be told apart: {_ADVICE}"
        )


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line with a level begins; looks at one line after the other from the end."""
    pattern = re.compile(compile_prefix(reading.prefix or "").pattern)
    end = len(buffer)
    while end > 0:
        start = buffer.rfind(b"\n", 0, end - 1) + 1
        if buffer[start : start + 1] != b"\t":
            line = buffer[start : min(end, start + 4096)].decode(errors="replace")
            if _begins_record(line if reading.language is None else english_line(line, reading.language), pattern):
                return dump_before(buffer, start)
        end = start
    return 0


def _begins_record(line: str, pattern: re.Pattern[str]) -> bool:
    at = line.find(SEPARATOR)
    while at >= 0:
        match = pattern.match(line[:at])
        if match is not None:
            return match["severity"] not in FOLLOW_UPS
        at = line.find(SEPARATOR, at + 1)
    return False


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. The TAB lines of a message are folded into its first line, so that one row is one field."""
    text = clean_utf8(chunk)
    fold = _unused_byte(text)
    folded, is_folded, ends_in_cr = _folded(text, fold)
    mark = fold.decode()
    if reading.line_end == b"\r\n":
        mark = "\r" + mark
    elif ends_in_cr:
        folded = folded.replace(b"\r\n", b"\r\r\n")  # one is taken for the line's end; the other is the message's
    lines = pl.read_lines(folded, name="line")["line"]
    known = lines if reading.language is None else english_lines(lines, reading.language)
    frame = read_heads(known, compile_prefix(reading.prefix or ""), reading.timezone)
    more = lines.str.count_matches(mark, literal=True) if is_folded else pl.repeat(0, lines.len(), eager=True)
    line_count = more.cast(pl.Int64) + 1
    frame = frame.with_columns(
        line_count.alias("line_count"), (line_count.cum_sum() - line_count + first_line).alias("line_no")
    )
    frame = with_memory_dumps(numbered(with_pid(frame)), lines)
    is_record = pl.col("severity").is_not_null() & (pl.col("record_no") > 0)
    unread = frame.select((~is_record).alias("unread"))["unread"]
    left = unparsed(frame.with_columns(lines.alias("line")), unread, mark)
    records = assembled(frame.filter(is_record) if unread.any() else frame)
    if is_folded:
        fields = [name for name in ("message", *FOLLOW_UPS.values()) if name in records.columns]
        # on every text: the new ones are packed, where the old ones keep the whole chunk in memory
        records = records.with_columns(pl.col(fields).str.replace_all(mark + "\t", "\n", literal=True))
    return Parsed(as_csvlog(records), left)


def _folded(text: bytes, fold: bytes) -> tuple[bytes, bool, bool]:
    """``text`` with ``fold`` for every line end before a TAB; whether there was one, and whether a line ends in CR.

    As bytes.replace and ``in`` would tell, in a fourth of the time and without keeping the interpreter locked.
    """
    letters = np.frombuffer(bytearray(text), dtype=np.uint8)
    line_ends = np.flatnonzero(letters[:-1] == _NEWLINE)
    is_fold = letters[line_ends + 1] == _TAB
    ends_in_cr = bool((letters[line_ends[~is_fold] - 1] == _CR).any())
    if not is_fold.any():
        return text, False, ends_in_cr
    letters[line_ends[is_fold]] = fold[0]
    return letters.tobytes(), True, ends_in_cr


def _unused_byte(text: bytes) -> bytes:
    """A control character that the chunk does not hold; there is one unless somebody logs binary data."""
    for code in (*range(0x1C, 0x20), *range(0x01, 0x09), *range(0x0E, 0x1C)):
        if bytes([code]) not in text:
            return bytes([code])
    return b"\x7f"


FORMAT = LogFormat(name="stderr", rank=30, sniff=sniff, last_record=last_record, read=read)
