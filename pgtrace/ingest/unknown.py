"""Input that is no log: every line is kept, unparsed, so that the sums meet."""

from __future__ import annotations

import polars as pl

from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.schema import RECORD, UNPARSED, polars_schema


def _last_line(buffer: bytes, reading: Reading) -> int:
    return buffer.rfind(b"\n", 0, len(buffer) - 1) + 1


def _read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    text = clean_utf8(chunk)
    lines = pl.read_lines(text, name="text").with_row_index("line_no", offset=first_line)
    columns = {name: UNPARSED.columns[name] for name in ("line_no", "text", "reason", "near")}
    schema = polars_schema(columns)
    rows = lines.select(
        pl.col("line_no").cast(schema["line_no"]),
        "text",
        pl.lit("no log format knows this file").alias("reason"),
        pl.lit(None, schema["near"]).alias("near"),
    )
    names = [name for name in RECORD.columns if name not in ("source_id", "kind")]
    records = polars_schema({name: RECORD.columns[name] for name in names}).to_frame()
    return Parsed(records, rows)


UNKNOWN = LogFormat(name="unknown", rank=99, sniff=lambda head, asked: asked, last_record=_last_line, read=_read)
