"""Where records begin and end in a csvlog, also in one that is damaged.

Source: ``write_csvlog`` in src/backend/utils/error/csvlog.c (elog.c before 15). A quote within a quoted field is
doubled, so a line of a message that looks like a record (a log quoted in a log) never reads as one by itself.

Limitations: a record that begins in the middle of a line, behind one that was cut off, is not told apart from it: the
line is unparsed.
"""

from __future__ import annotations

import re

import polars as pl

from pgtrace.prefix import SEVERITIES
from pgtrace.translations import foreign_levels

#: fields in order; 12 ends at application_name, 13 adds backend_type, 14 to 18 the last two
FIELDS = (
    "time", "user_name", "database_name", "pid", "connection", "session_id", "session_line_no", "command_tag",
    "session_time", "vxid", "xid", "severity", "sqlstate", "message", "detail", "hint", "internal_query",
    "internal_position", "context", "statement", "cursor_position", "location", "application_name", "backend_type",
    "leader_pid", "query_id",
)  # fmt: skip
NUMBERS = frozenset(("pid", "session_line_no", "xid", "internal_position", "cursor_position", "leader_pid", "query_id"))
#: how many fields the versions write
COUNTS = (26, 24, 23)

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^ ,\"\n]{1,16}"
_FIELD = r'[^",\r\n]*|"[^"]*(?:""[^"]*)*"'
_LINE_OVER = r"(?:\n|$)"


def _pattern(field: str, *, named: bool) -> str:
    """A record, up to the end of its line, from its time on."""
    fields = [f"(?P<{name}>{field})" if named else f"(?:{field})" for name in FIELDS[1:]]
    time = f"(?P<time>{TIME})" if named else TIME
    return f"{','.join([time, *fields[:22]])}(?:,{fields[22]}(?:,{fields[23]},{fields[24]})?)?"


#: for Polars, whose expressions run in linear time
RECORD_PATTERN = rf"(?s)^{_pattern(_FIELD, named=True)}\r?{_LINE_OVER}"
#: for Python, with possessive repeats, so that a record without end is given up at once
_POSSESSIVE = r'[^",\r\n]*+|"[^"]*+(?:""[^"]*+)*+"'
RECORD_BYTES = re.compile(rf"(?m)^{_pattern(_POSSESSIVE, named=True)}(?P<cr>\r?)(?:\n|\Z)".encode())
RECORD_START = re.compile(rf"(?m)^{TIME},".encode())
#: up to the message, for a head that ends before its first record does
_UP_TO_LEVEL = ",".join([TIME, *[f"(?:{_POSSESSIVE})"] * 10, f"(?:{'|'.join([*SEVERITIES, *foreign_levels()])})"])
RECORD_HEAD = re.compile(rf"(?m)^{_UP_TO_LEVEL},[0-9A-Z]{{5}},".encode())

_NUL = "\N{REPLACEMENT CHARACTER}"


def find_records(lines: pl.DataFrame) -> pl.DataFrame:
    """Records among ``lines`` (line_no, text): ``line_no, line_count`` and the raw fields, quotes and all.

    The lines are taken in blocks that begin with a time. A block is a record with or without lines behind it that
    belong to nothing. Blocks that are none are looked at again together: a message may hold lines that look like the
    beginning of a record.
    """
    starts_here = pl.col("text").str.contains(f"^{_NUL}*{TIME},")
    # a crash leaves NULs in front of the next record
    text = pl.when(starts_here).then(pl.col("text").str.strip_chars_start(_NUL)).otherwise("text").alias("text")
    blocks = (
        lines.with_columns(text, starts_here.cast(pl.UInt32).cum_sum().alias("block"))
        .filter(pl.col("block") > 0)
        .group_by("block", maintain_order=True)
        .agg(pl.col("line_no").first(), pl.col("text").str.join("\n"))
    )
    found, rest = _match(blocks)
    results = [found]
    for skip in (0, 1):
        if rest.is_empty():
            break
        again, _ = _match(_joined_again(rest, skip))
        results.append(again)
        taken = again.select(pl.int_ranges("block", pl.col("last_block") + 1).explode().alias("block"))
        rest = rest.join(taken, on="block", how="anti")
    return pl.concat(result.drop("block", "last_block", strict=False) for result in results).sort("line_no")


def _match(blocks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Blocks that begin with a whole record, with its fields and line_count; and the other blocks."""
    fields = blocks["text"].str.extract_groups(RECORD_PATTERN).struct.unnest()
    matched = fields["time"].is_not_null()
    breaks = pl.sum_horizontal(pl.col(name).str.count_matches("\n", literal=True).fill_null(0) for name in FIELDS)
    found = pl.concat([blocks.drop("text"), fields], how="horizontal").filter(matched)
    return found.with_columns((1 + breaks.cast(pl.Int64)).alias("line_count")), blocks.filter(~matched)


def _joined_again(blocks: pl.DataFrame, skip: int) -> pl.DataFrame:
    """Neighbouring blocks put together from one that opens a quote to the next that closes it.

    ``skip`` is the number of blocks with an open quote to leave out first, in each run of neighbours.
    """
    run = (pl.col("block").diff().fill_null(0) > 1).cum_sum()
    opens = pl.col("text").str.count_matches('"', literal=True) % 2 == 1
    numbered = blocks.with_columns(run.alias("run"), opens.alias("opens")).with_columns(
        (pl.col("opens").cast(pl.Int64).cum_sum().over("run") - skip).alias("opened")
    )
    inside = (pl.col("opened") > 0) & (pl.col("opens") | (pl.col("opened") % 2 == 1))
    return (
        numbered.filter(inside)
        .group_by("run", (pl.col("opened") + 1) // 2, maintain_order=True)
        .agg(
            pl.col("block").first(),
            pl.col("block").last().alias("last_block"),
            pl.col("line_no").first(),
            pl.col("text").str.join("\n"),
        )
        .filter(pl.col("last_block") > pl.col("block"))
        .drop("run", "opened")
    )


def unquoted(name: str) -> pl.Expr:
    """A raw field as the text it stands for."""
    raw = pl.col(name)
    inner = raw.str.head(-1).str.slice(1).str.replace_all('""', '"', literal=True)
    return pl.when(raw.str.starts_with('"')).then(inner).otherwise(raw).alias(name)


def last_start(buffer: bytes) -> int:
    """Offset of the last record in ``buffer``, whole or not; 0 where none is found.

    A time at the start of a line may stand in a message. Going backwards, the first that begins a whole record is
    certain, and so is the one behind the end of that record.
    """
    window = 65_536
    while True:
        low = max(0, len(buffer) - window)
        starts = [match.start() for match in RECORD_START.finditer(buffer, low)]
        for number in range(len(starts) - 1, -1, -1):
            record = RECORD_BYTES.match(buffer, starts[number])
            if record is not None:
                behind = (start for start in starts[number + 1 :] if start >= record.end())
                return next(behind, starts[number])
        if low == 0:
            return starts[-1] if starts else 0
        window *= 8
