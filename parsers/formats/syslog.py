"""The server log sent to syslog (log_destination = syslog), in the file that rsyslog, syslog-ng or another one wrote.

A line has a head of the syslog's (time, host, ident, process), then ``[5-1]``, the number of the message in its process
and of the piece in the message (syslog_sequence_numbers, syslog_split_messages), then what stderr would have. A message
is cut at line ends, and where a line has more than 900 bytes at a blank, which the next piece begins with. Source:
``write_syslog`` in src/backend/utils/error/elog.c; RFC 3164, RFC 5424; rsyslog writes control characters as ``#011``.

Limitations: RFC 3164 says no year and no zone; where log_line_prefix has no time, the year is the newest that puts no
line into the future. Text that reads ``#011`` is taken for the control character, a piece that was cut at a TAB for a
new line. Of several hosts in one file the records are whole, but nothing says whose they are.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.envelope import last_whole, read_enveloped
from pgtrace.errors import UnknownFormatError
from pgtrace.jsonlines import first_lines, says_time, with_reasons
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.prefix import FOLLOW_UPS, SEPARATOR, SEVERITIES, compile_prefix
from pgtrace.prefix_detection import detect_prefix, match_share
from pgtrace.syslogd import stamp_times, unescaped
from pgtrace.translations import detect_language, english_line, english_lines

_FRACTION = r"(?:\.[0-9]{1,9})?"
_RFC3164_TIME = rf"[A-Z][a-z]{{2}} [ 0-3][0-9] [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}{_FRACTION}"
_ISO_TIME = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}{_FRACTION}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})"
)
#: the time and what stands before it: the priority, and the version of RFC 5424
_STAMP = rf"(?:<[0-9]{{1,3}}>)?(?:{_RFC3164_TIME}|{_ISO_TIME})"
_STAMP_5424 = rf"<[0-9]{{1,3}}>1 (?:-|{_ISO_TIME})"
#: host, facility (busybox), ident and pid
_WHO = r"(?: [^ ]+)?(?: [a-z0-9]+\.[a-z]+)? (?P<ident>[^ ]+?)(?:\[(?P<pid>[0-9]+)\])?"
_WHO_5424 = r" [^ ]+ (?P<ident>[^ ]+) (?P<pid>[^ ]+)"
_DATA_5424 = r'(?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+)(?: |$)'
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_LINE = rf"(?s)^(?P<stamp>{_STAMP})(?P<who>{_WHO}):(?: |$)(?P<text>.*)$"
_LINE_5424 = rf"(?s)^(?P<stamp>{_STAMP_5424})(?P<who>{_WHO_5424}) [^ ]+ {_DATA_5424}(?:{_BOM})? ?(?P<text>.*)$"
_PLAIN, _RFC5424 = re.compile(_LINE.encode()), re.compile(_LINE_5424.encode())
#: ``[5-1]``, or without sequence numbers ``[1]``, or unsplit ``[5]``
_NUMBER = r"^\[(?:[0-9]+-)?[0-9]+$"
_NUMBERED = re.compile(rb" ?\[([0-9]+-)?([0-9]+)\] ")
#: what rsyslog and syslog-ng say of a message that came again
_COUNTS = ("message repeated ", "Last message '")
_COUNTED = r"[Mm]essage (?:'.*' )?repeated [0-9]+ times"

_LEVELS = (*SEVERITIES, *FOLLOW_UPS)
_SAMPLE = 200
#: share of lines that begin a message, below which the numbers do not tell them
_FEW = 0.05
_DETECTED_FROM = 256 * 1024
#: the lines of a record may have others between them, but all of them come within this
_SETTLED = 64 * 1024
OTHER_PROGRAM = "another program's line"
COUNTED = "counts messages that the syslog left out"


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """Lines begin with a time, a host and a program. Raises UnknownFormatError, TimeZoneError."""
    own = [line for line in first_lines(head).split(b"\n") if line[:1] not in (b"", b"\t", b"\r")]
    if sum(_match(line) is not None for line in own) * 4 <= len(own):
        return None
    line_end = b"\r\n" if head.count(b"\r\n") * 2 > head.count(b"\n") else b"\n"
    reading = Reading("syslog", asked.prefix, asked.timezone, line_end)
    whole = head[: head.rfind(b"\n") + 1] or head
    texts = _texts(_entries(whole, reading, 1))
    language = detect_language(texts)
    if language is not None:
        texts = "\n".join(english_lines(pl.Series(texts.split("\n")), language))
    prefix = asked.prefix
    if prefix is None or match_share(prefix, texts) == 0:
        found = detect_prefix(texts)
        if prefix is not None and found is not None:
            hint = f"the lines look like --prefix '{found}'"
            raise UnknownFormatError(f"log_line_prefix '{prefix}' reads none of its lines; {hint}")
        prefix = found if prefix is None else prefix
    reading = Reading("syslog", prefix, asked.timezone, line_end, language=language)
    read(first_lines(head), reading, 1)  # a zone that needs an option shows here
    return reading


def _match(line: bytes) -> re.Match[bytes] | None:
    match = _PLAIN.match(line) or _RFC5424.match(line)
    # other logs may have a time, and then the level or the pid
    return match if match and _is_program(match["ident"].decode(errors="replace"), match["who"], match["pid"]) else None


def _is_program(ident: str, who: bytes, pid: bytes | None) -> bool:
    return ident not in _LEVELS and (pid is not None or who.count(b" ") > 1)


def _texts(entries: pl.DataFrame) -> str:
    """Lines to detect the prefix from: those that begin a message, where the numbers tell."""
    texts = entries.filter(pl.col("text").is_not_null())
    numbered = texts.filter("is_numbered")
    if numbered.filter(~pl.col("goes_on")).height > _FEW * numbered.height:
        texts = texts.filter(~pl.col("goes_on"))
    return "\n".join(texts["text"])[:_DETECTED_FROM]


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where a line begins a record and nothing behind it goes on with one before it."""
    pattern = re.compile(compile_prefix(reading.prefix or "").pattern)
    return last_whole(buffer, lambda line: _look(line, pattern, reading.language), _SETTLED)


def _look(line: bytes, prefix: re.Pattern[str], language: str | None) -> tuple[object, bool] | None:
    """Who wrote a line, and whether it begins a record; None for one without a head, which goes on with the last."""
    match = _match(line)
    if match is None:
        return None
    text = match["text"]
    numbers = _NUMBERED.match(text)
    if numbers is not None and (numbers[1] is not None or numbers[2] == b"1"):
        return match["who"], numbers[2] == b"1"
    own = text[numbers.end() :].decode(errors="replace") if numbers else text.decode(errors="replace")
    severity = _severity(own, prefix, language) or _severity(text.decode(errors="replace"), prefix, language)
    goes_on = own.startswith(("\t", "#011")) or severity in FOLLOW_UPS or (numbers is not None and severity is None)
    return match["who"], not goes_on  # one line of another program is all it says


def _severity(text: str, prefix: re.Pattern[str], language: str | None) -> str | None:
    text = text if language is None else english_line(text, language)
    at = text.find(SEPARATOR)
    while at >= 0:
        match = prefix.match(text[:at])
        if match is not None:
            return match["severity"]
        at = text.find(SEPARATOR, at + 1)
    return None


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records; lines of other programs are unparsed. Raises TimeZoneError."""
    entries = _entries(chunk, reading, first_line)
    prefix = reading.prefix
    if prefix is None:  # the source begins with other programs' lines
        prefix = detect_prefix(_texts(entries)) or ""
    if not says_time(prefix):
        entries = entries.with_columns(stamp_times(entries["stamp"], reading.timezone).alias("logged_at"))
    parsed = read_enveloped(entries, prefix, reading.timezone)
    return with_reasons(parsed, _reasons(parsed, entries)) if parsed.unparsed.height else parsed


def _reasons(parsed: Parsed, entries: pl.DataFrame) -> pl.DataFrame:
    """Why a line is unparsed, where the syslog says more than the text behind its head: ``line_no, other``."""
    servers = entries.join(parsed.records.select("line_no"), on="line_no", how="semi")["ident"].unique().drop_nulls()
    is_other = pl.col("ident").is_not_null() & ~pl.col("ident").is_in(servers.implode()) & ~pl.col("is_numbered")
    left = entries.join(parsed.unparsed.select("line_no"), on="line_no", how="semi")
    reason = (
        pl.when(pl.col("line").str.contains(_COUNTED)).then(pl.lit(COUNTED)).when(is_other).then(pl.lit(OTHER_PROGRAM))
    )
    return left.select("line_no", reason.alias("other")).drop_nulls()


def _entries(chunk: bytes, reading: Reading, first_line: int) -> pl.DataFrame:
    """What ``read_enveloped`` wants to know of each line; with ``stamp``, ``ident`` and ``is_numbered``."""
    text = clean_utf8(chunk)
    if reading.line_end != b"\r\n" and b"\r\n" in text:
        text = text.replace(b"\r\n", b"\r\r\n")  # one is taken for the line's end; the other is the message's
    lines = pl.read_lines(text, name="line")["line"]
    line_no = pl.int_range(first_line, first_line + lines.len(), dtype=pl.Int64, eager=True).alias("line_no")
    frame = _heads(lines).with_columns(line_no, lines)
    if frame["owner"].null_count():  # syslog-ng keeps line ends: the line belongs to the one before it
        frame = frame.with_columns(
            pl.when(pl.col("owner").is_null()).then("line").otherwise("text").alias("text"),
            pl.col("owner", "ident", "pid", "stamp").forward_fill(),
        )
    frame = _without_numbers(frame, reading.prefix)
    if b"\t" not in text:  # a daemon that keeps TABs escapes nothing
        frame = frame.with_columns(unescaped(frame["text"]))
    if reading.language is not None:
        frame = frame.with_columns(english_lines(frame["text"], reading.language))
    is_count = pl.any_horizontal(pl.col("text").str.starts_with(word) for word in _COUNTS)
    return frame.with_columns(pl.when(~is_count).then("text").alias("text"))


def _heads(lines: pl.Series) -> pl.DataFrame:
    """``stamp, ident, pid, owner, text`` of each line; all null where it has no head of a syslog's.

    Nearly all lines are of one layout with a time of one width; the others are looked at again.
    """
    first = next((match for line in lines.head(_SAMPLE) if (match := _match(line.encode())) is not None), None)
    if first is None:
        return _read_in_full(lines)
    frame = _read_by_width(lines, len(first["stamp"]), is_5424=first.re is _RFC5424)
    where = frame["owner"].is_null().arg_true()
    if where.is_empty():
        return frame
    more = _read_in_full(lines.gather(where)).with_columns(where.cast(pl.UInt32).alias("row"))
    more = more.filter(pl.col("owner").is_not_null())
    return frame.with_row_index("row").update(more, on="row").drop("row") if more.height else frame


def _read_by_width(lines: pl.Series, width: int, *, is_5424: bool) -> pl.DataFrame:
    stamp, who = (_STAMP_5424, _WHO_5424) if is_5424 else (_STAMP, _WHO)
    cut = lines.to_frame("line").select(
        pl.col("line").str.slice(0, width).alias("stamp"),
        pl.col("line").str.slice(width).str.splitn(" - " if is_5424 else ": ", 2).alias("parts"),
    )
    text = pl.col("parts").struct.field("field_1")
    if is_5424:
        is_plain = text.str.starts_with("- ")
        text = pl.when(is_plain).then(text.str.slice(2)).otherwise(text.str.replace(f"^{_DATA_5424}", ""))
        text = text.str.strip_prefix(_BOM).str.strip_prefix(" ")
    frame = cut.select("stamp", pl.col("parts").struct.field("field_0").alias("who"), text.alias("text"))
    known = frame["who"].unique().to_frame()
    known = known.with_columns(pl.col("who").str.extract_groups(f"^{who}$").alias("program")).unnest("program")
    frame = frame.join(_programs(known), on="who", how="left", maintain_order="left").drop("who")
    is_head = pl.col("owner").is_not_null() & pl.col("stamp").str.contains(f"^{stamp}$") & pl.col("text").is_not_null()
    where = frame.select(is_head.alias("is"))["is"]
    return frame if where.all() else frame.select(pl.when(where).then(pl.all()))


def _read_in_full(lines: pl.Series) -> pl.DataFrame:
    whole = lines.to_frame("line").select(
        pl.col("line").str.extract_groups(_LINE).alias("plain"),
        pl.col("line").str.extract_groups(_LINE_5424).alias("new"),
    )
    names = ("stamp", "who", "ident", "pid", "text")
    both = [pl.coalesce(pl.col(kind).struct.field(name) for kind in ("plain", "new")).alias(name) for name in names]
    frame = _programs(whole.select(both)).drop("who")
    return frame.select(pl.when(pl.col("owner").is_not_null()).then(pl.all()))


def _programs(known: pl.DataFrame) -> pl.DataFrame:
    """``who`` with ``owner``, null where that is no program: in other logs the time may stand before a level."""
    has_place = pl.col("pid").is_not_null() | (pl.col("who").str.count_matches(" ", literal=True) > 1)
    is_program = pl.col("ident").is_not_null() & ~pl.col("ident").is_in(_LEVELS) & has_place
    return known.with_columns(
        pl.col("pid").cast(pl.Int64, strict=False), pl.when(is_program).then(pl.col("who").hash()).alias("owner")
    )


def _without_numbers(frame: pl.DataFrame, prefix: str | None) -> pl.DataFrame:
    """``text`` behind the numbers of message and piece; ``is_numbered``; ``goes_on``, null where that is open."""
    lead = pl.when(pl.col("text").str.starts_with(" [")).then(pl.col("text").str.slice(1)).otherwise("text")
    parts = frame.select("text", "pid", lead.str.splitn("] ", 2).alias("parts"))
    number, rest = (pl.col("parts").struct.field(f"field_{at}") for at in (0, 1))
    is_numbered = number.str.contains(_NUMBER) & rest.is_not_null()
    if prefix is not None and prefix.startswith(("[%p] ", "[%l-1] ")):  # without numbers its own bracket is the first
        is_own = number == pl.concat_str(pl.lit("["), "pid") if prefix[2] == "p" else number.str.ends_with("-1")
        is_numbered &= ~is_own | rest.str.starts_with("[")
    parts = parts.with_columns(is_numbered.fill_null(False).alias("is_numbered"))
    goes_on = (
        pl.when(~pl.col("is_numbered") | (number == "[1"))
        .then(False)
        .when(number.str.contains("-", literal=True))
        .then(~number.str.ends_with("-1"))
    )
    return frame.with_columns(
        parts.select(
            "is_numbered", goes_on.alias("goes_on"), pl.when("is_numbered").then(rest).otherwise("text").alias("text")
        )
    )


FORMAT = LogFormat(name="syslog", rank=25, sniff=sniff, last_record=last_record, read=read)
