"""The server log as PostgreSQL writes it to stderr (log_destination = stderr), with any log_line_prefix.

A record is a line with a level (LOG, ERROR, …), the lines that go on with it (they begin with a TAB), and its DETAIL,
HINT, CONTEXT, STATEMENT, QUERY, LOCATION and BACKTRACE lines. Source: src/backend/utils/error/elog.c,
``send_message_to_server_log``.

Limitations: a message that is written while another process's message is half written (no logging collector) is
put back together by pid; its TAB lines are not.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.errors import UnknownFormatError
from pgtrace.heads import read_heads
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.prefix import FOLLOW_UPS, SEPARATOR, compile_prefix
from pgtrace.prefix_detection import detect_prefix, match_share
from pgtrace.schema import RECORD, UNPARSED, polars_schema

_CURSOR = r"(?s)^(?P<message>.*) at character (?P<position>\d+)$"
_SAMPLE = 200
_NEWLINE, _TAB, _CR = b"\n\t\r"
_ADVICE = "set log_line_prefix = '%m [%p] %q%u@%d/%a ' and reload the server"
_NO_PREFIX = "does not begin with the log_line_prefix"
_NO_RECORD = "goes on with a record that is not in the file"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """A stderr log has lines with a level and two blanks behind its colon. Raises UnknownFormatError, TimeZoneError."""
    text = clean_utf8(head).decode()
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
    reading = Reading("stderr", prefix=prefix, timezone=asked.timezone, line_end=line_end)
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
            if _begins_record(line, pattern):
                return start
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
    frame = read_heads(lines, compile_prefix(reading.prefix or ""), reading.timezone)
    more = lines.str.count_matches(mark, literal=True) if is_folded else pl.repeat(0, lines.len(), eager=True)
    line_count = more.cast(pl.Int64) + 1
    frame = frame.with_columns(
        line_count.alias("line_count"), (line_count.cum_sum() - line_count + first_line).alias("line_no")
    )
    frame = _numbered(_with_pid(frame))
    is_record = pl.col("severity").is_not_null() & (pl.col("record_no") > 0)
    unread = frame.select((~is_record).alias("unread"))["unread"]
    unparsed = _unparsed(frame.with_columns(lines.alias("line")), unread, mark)
    records = _assembled(frame.filter(is_record) if unread.any() else frame)
    if is_folded:
        fields = [name for name in ("message", *FOLLOW_UPS.values()) if name in records.columns]
        # on every text: the new ones are packed, where the old ones keep the whole chunk in memory
        records = records.with_columns(pl.col(fields).str.replace_all(mark + "\t", "\n", literal=True))
    return Parsed(_as_csvlog(records), unparsed)


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


def _with_pid(frame: pl.DataFrame) -> pl.DataFrame:
    """%c says the pid and the start of the process as well, in hexadecimal."""
    if "session_id" not in frame.columns:
        return frame
    halves = pl.col("session_id").str.split_exact(".", 1)
    said: dict[str, pl.Expr] = {}
    if "pid" not in frame.columns:
        said["pid"] = halves.struct.field("field_1").str.to_integer(base=16, strict=False)
    if "session_started_at" not in frame.columns:
        seconds = halves.struct.field("field_0").str.to_integer(base=16, strict=False)
        said["session_started_at"] = pl.from_epoch(seconds, "s").cast(RECORD.columns["logged_at"].polars_type)
    return frame.with_columns(**said)


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Add ``is_start`` and ``record_no``, from 1: a record's own lines share its number. 0 is before the first."""
    is_start = pl.col("severity").is_not_null() & ~pl.col("severity").is_in(list(FOLLOW_UPS))
    frame = frame.with_columns(is_start.alias("is_start")).with_columns(
        pl.col("is_start").cast(pl.UInt32).cum_sum().alias("record_no")
    )
    owner = pl.when("is_start").then("pid").forward_fill()
    strays = (
        frame.select(pl.col("severity").is_not_null() & ~pl.col("is_start") & (pl.col("pid") != owner))
        .to_series()
        .fill_null(False)
    )
    if not strays.any():
        return frame
    # two processes wrote at once: a DETAIL belongs to the last record of its own process
    rows = frame.with_row_index("row").select("row", "pid", "is_start", "record_no")
    starts = rows.filter("is_start").select("row", "pid", pl.col("record_no").alias("own_record_no"))
    found = (
        rows.filter(strays)
        .join_asof(starts, on="row", by="pid", check_sortedness=False)
        .select("row", pl.col("own_record_no").fill_null(0).alias("record_no"))
    )
    return frame.with_row_index("row").update(found, on="row").drop("row")


def _unparsed(frame: pl.DataFrame, unread: pl.Series, mark: str) -> pl.DataFrame:
    """One row per line that belongs to no record, with the time of the record before it."""
    schema = polars_schema({name: UNPARSED.columns[name] for name in ("line_no", "text", "reason", "near")})
    if not unread.any():
        return schema.to_frame()
    reason = pl.when(pl.col("severity").is_null()).then(pl.lit(_NO_PREFIX)).otherwise(pl.lit(_NO_RECORD))
    rows = frame.with_columns(pl.col("logged_at").forward_fill().alias("near"), reason.alias("reason")).filter(unread)
    rows = rows.with_columns(pl.col("line").str.split(mark)).explode("line")
    nth = pl.int_range(pl.len()).over("line_no")
    return rows.select((pl.col("line_no") + nth).alias("line_no"), pl.col("line").alias("text"), "reason", "near")


def _assembled(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per record, with the text of its other lines in columns."""
    records = frame.filter("is_start").drop("is_start").rename({"text": "message"})
    others = frame.filter(~pl.col("is_start")).select("record_no", "severity", "text", "line_count")
    if others.is_empty():
        return records.drop("record_no")
    for severity in others["severity"].unique():
        column = FOLLOW_UPS[severity]
        texts = others.filter(pl.col("severity") == severity).select("record_no", pl.col("text").alias(column))
        if texts["record_no"].is_duplicated().any():
            texts = texts.group_by("record_no", maintain_order=True).agg(pl.col(column).str.join("\n"))
        records = records.join(texts, on="record_no", how="left", maintain_order="left")
    counts = others.group_by("record_no").agg(pl.col("line_count").sum().alias("more"))
    return (
        records.join(counts, on="record_no", how="left", maintain_order="left")
        .with_columns(pl.col("line_count") + pl.col("more").fill_null(0))
        .drop("record_no", "more")
    )


def _as_csvlog(records: pl.DataFrame) -> pl.DataFrame:
    """What stderr prints inside the message and csvlog in columns of their own: SQLSTATE and cursor position."""
    if "location" in records.columns:  # log_error_verbosity = verbose: "42P01: relation …" and a LOCATION line
        is_verbose = pl.col("location").is_not_null() & pl.col("message").str.contains(r"^[0-9A-Z]{5}: ")
        records = records.with_columns(
            pl.when(is_verbose)
            .then(pl.col("message").str.slice(0, 5))
            .otherwise(pl.col("sqlstate") if "sqlstate" in records.columns else pl.lit(None, pl.String))
            .alias("sqlstate"),
            pl.when(is_verbose).then(pl.col("message").str.slice(7)).otherwise("message").alias("message"),
        )
    has_statement = pl.any_horizontal(
        [pl.col(name).is_not_null() for name in ("statement", "internal_query") if name in records.columns]
        + [pl.col("severity") != "LOG"]
    )
    where = (
        records.select(has_statement & pl.col("message").str.contains(" at character ", literal=True))
        .to_series()
        .arg_true()
    )
    if where.is_empty():
        return records
    return _with_positions(records, where)


def _with_positions(records: pl.DataFrame, where: pl.Series) -> pl.DataFrame:
    """`` at character N`` points into the statement, or into the QUERY where the server ran one itself."""
    some = records[where]
    found = some.select(pl.col("message").str.extract_groups(_CURSOR)).unnest("message")
    position = found["position"].cast(pl.Int64)
    is_internal = (
        some["internal_query"].is_not_null()
        if "internal_query" in some.columns
        else pl.repeat(False, some.height, eager=True, dtype=pl.Boolean)
    )
    moved = pl.DataFrame(
        {
            "row": where.cast(pl.UInt32),
            "message": found["message"],
            "cursor_position": position.set(is_internal, None),
            "internal_position": position.set(~is_internal, None),
        }
    )
    empty = pl.lit(None, pl.Int64)
    records = records.with_columns(empty.alias("cursor_position"), empty.alias("internal_position"))
    return records.with_row_index("row").update(moved, on="row").drop("row")


FORMAT = LogFormat(name="stderr", rank=30, sniff=sniff, last_record=last_record, read=read)
