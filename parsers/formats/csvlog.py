"""The csvlog (log_destination = csvlog): 23 fields in version 12, 24 in 13, 26 from 14 on.

Source: src/backend/utils/error/csvlog.c (elog.c before 15) and the table "Using CSV-Format Log Output" of the manual.

Limitations: nothing in a csvlog says BACKTRACE. A line that got in between the lines of a quoted message cannot be
told from the message.
"""

from __future__ import annotations

from itertools import islice

import polars as pl

from pgtrace.csvrecords import (
    COUNTS,
    FIELDS,
    NUMBERS,
    RECORD_BYTES,
    RECORD_HEAD,
    find_records,
    last_start,
    unquoted,
)
from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.prefix import SEVERITIES
from pgtrace.recordframe import (
    as_records,
    client_columns,
    count_lines,
    is_readable,
    nothing_unparsed,
    numbered_lines,
    unparsed_lines,
    with_english_levels,
    with_times,
)
from pgtrace.translations import detect_language, foreign_levels

_SCHEMA = {name: pl.Int64 if name in NUMBERS else pl.String for name in FIELDS}
_OF_MANY_LINES = ("message", "detail", "hint", "internal_query", "context", "statement")
#: a role may be named so that its name takes two lines; it is looked for only where the sum says so
_OF_ONE_LINE = tuple(name for name in FIELDS if name not in NUMBERS and name not in _OF_MANY_LINES)
_SAMPLE = 200
_LEVELS = {*SEVERITIES, *foreign_levels()}


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """A csvlog has a record of 23, 24 or 26 fields, the first a time and the twelfth a level. Raises TimeZoneError."""
    found = list(islice(RECORD_BYTES.finditer(head.replace(b"\0", b"\n")), _SAMPLE))
    language = detect_language(head.decode(errors="replace"))
    found = [record for record in found if record["severity"].decode(errors="replace") in _LEVELS]
    if not found:
        # the first record may be longer than the head
        return Reading("csvlog", timezone=asked.timezone, language=language) if RECORD_HEAD.search(head) else None
    times = pl.DataFrame({name: [record[name].decode() for record in found] for name in ("time", "session_time")})
    with_times(times, asked.timezone)
    columns = sum(value is not None for value in found[-1].groupdict().values()) - 1
    line_end = b"\r\n" if sum(record["cr"] == b"\r" for record in found) * 2 > len(found) else b"\n"
    return Reading("csvlog", timezone=asked.timezone, line_end=line_end, columns=columns, language=language)


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last record begins; reads backwards from the end until a whole record is found."""
    return last_start(buffer)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records; what is damaged is looked at line by line. Raises TimeZoneError."""
    text = clean_utf8(chunk)
    if reading.line_end == b"\r\n":
        text = text.replace(b"\r\n", b"\n")
    records = _read_sound(text, reading, first_line)
    return nothing_unparsed(records) if records is not None else _read_damaged(text, reading, first_line)


def _read_sound(text: bytes, reading: Reading, first_line: int) -> pl.DataFrame | None:
    """The records, or None where anything is unlike a csvlog that was written to its end."""
    for columns in COUNTS if reading.columns is None else (reading.columns,):
        names = FIELDS[:columns]
        try:
            fields = pl.read_csv(text, has_header=False, schema={name: _SCHEMA[name] for name in names})
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            continue
        # the last field is never missing, so its being there says that all are
        if fields.height == 0 or fields[names[-1]].null_count() > 0:
            continue
        line_count = _line_counts(fields, count_lines(text))
        if line_count is None:
            continue
        fields = with_english_levels(with_times(fields, reading.timezone))
        if is_readable(fields).all():
            line_no = first_line + line_count.cum_sum() - line_count
            return _records(fields.with_columns(line_no.alias("line_no"), line_count.alias("line_count")))
    return None


def _line_counts(fields: pl.DataFrame, lines: int) -> pl.Series | None:
    """Lines that each record takes, None where they do not sum up to ``lines``."""
    counts = pl.Series([1], dtype=pl.Int64).new_from_index(0, fields.height)
    for names in (_OF_MANY_LINES, _OF_ONE_LINE):
        if counts.sum() == lines:
            return counts
        for name in names:
            if name in fields.columns:
                counts += fields[name].str.count_matches("\n", literal=True).fill_null(0)
    return counts if counts.sum() == lines else None


def _records(fields: pl.DataFrame) -> pl.DataFrame:
    return as_records(pl.concat([fields, client_columns(fields["connection"])], how="horizontal"))


def _read_damaged(text: bytes, reading: Reading, first_line: int) -> Parsed:
    """Good records and, line by line, the rest."""
    lines = numbered_lines(text, first_line)
    found = find_records(lines).with_columns(unquoted(name) for name in FIELDS if name != "time")
    numbers = found.select(pl.col(name).cast(pl.Int64, strict=False) for name in FIELDS if name in NUMBERS)
    # a number that is not there is empty text, one that cannot be read becomes null
    misread = pl.any_horizontal((pl.col(name) != "") & numbers[name].is_null() for name in numbers.columns)
    is_number = ~found.select(misread.fill_null(value=False)).to_series()
    fields = with_english_levels(with_times(found.with_columns(numbers), reading.timezone))
    good = is_readable(fields) & is_number & ~_ends_early(found, text, reading)
    records = _records(fields.filter(good))
    return Parsed(records, unparsed_lines(_left_over(lines, fields, good), records))


def _ends_early(found: pl.DataFrame, text: bytes, reading: Reading) -> pl.Series:
    """Whether a record is the file's last, without a line end, and with fewer fields than the others have."""
    ends_early = found["line_no"].is_null()
    if found.height and not text.endswith(b"\n") and reading.columns is not None:
        last_field = FIELDS[reading.columns - 1]
        ends_early = (found["line_no"] == found["line_no"][-1]) & found[last_field].is_null()
    return ends_early


def _left_over(lines: pl.DataFrame, fields: pl.DataFrame, good: pl.Series) -> pl.DataFrame:
    """Lines that no good record took, with the reason."""
    spans = fields.select(
        pl.int_ranges("line_no", pl.col("line_no") + pl.col("line_count")).alias("line_no"), good.alias("good")
    ).explode("line_no")
    left = lines.join(spans.filter("good"), on="line_no", how="anti")
    misread = pl.col("line_no").is_in(spans.filter(~pl.col("good"))["line_no"].implode())
    begins = pl.col("text").str.contains(r"^\d{4}-\d\d-\d\d \d\d:\d\d")
    reason = (
        pl.when(misread)
        .then(pl.lit("a field of this csvlog record cannot be read"))
        .when(begins)
        .then(pl.lit("csvlog record that is cut off or damaged"))
        .otherwise(pl.lit("not part of a whole csvlog record"))
    )
    return left.with_columns(reason.alias("reason"))


FORMAT = LogFormat(name="csvlog", rank=20, sniff=sniff, last_record=last_record, read=read)
