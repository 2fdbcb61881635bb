"""Logs of JSON lines, and what the logs of containers and clouds have in common: the server's lines inside others.

A damaged line costs itself only. Times of the outer log are RFC 3339 (``2026-11-24T06:26:58.804123456Z``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from pgtrace.errors import UnknownFormatError
from pgtrace.logformat import Parsed, Reading
from pgtrace.prefix import FOLLOW_UPS, SEPARATOR, compile_prefix
from pgtrace.prefix_detection import detect_prefix, match_share
from pgtrace.recordframe import numbered_lines

NO_OBJECT = "no whole JSON object"
#: a text of JSON up to its end or to where the line is cut, never inside an escape
_STRING = rb'"((?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*)'
#: lines read to see whether the times can be
_SAMPLE = 200
#: share of the lines that a service's usual prefix must read
_MOST = 0.9
_ADVICE = "set log_line_prefix = '%m [%p] %q%u@%d/%a ' and reload the server"


def objects(text: bytes, schema: Mapping[str, Any], first_line: int) -> pl.DataFrame:
    """The lines of ``text`` (valid UTF-8): ``line_no, line, is_object``, and the keys of ``schema`` with their values.

    A value is null where the line is no object or has no such key. A key of type String takes any value: a text
    decoded, anything else as JSON.
    """
    lines = numbered_lines(text, first_line).rename({"text": "line"})
    decoded = _decoded(text, schema)
    if decoded is not None and decoded.height == lines.height:
        return pl.concat([lines.with_columns(pl.lit(True).alias("is_object")), decoded], how="horizontal")
    # a crash leaves NULs in front of the next line
    stripped = lines.with_columns(pl.col("line").str.strip_chars_start("\N{REPLACEMENT CHARACTER}"))
    is_whole = pl.col("line").str.starts_with("{") & pl.col("line").str.json_path_match("$").is_not_null()
    found = _bisected(stripped.filter(is_whole), schema).with_columns(pl.lit(True).alias("is_object"))
    return (
        lines.join(found, on="line_no", how="left", maintain_order="left")
        .with_columns(pl.col("is_object").fill_null(False))
        .select("line_no", "line", "is_object", *schema)
    )


def _decoded(text: bytes, schema: Mapping[str, Any]) -> pl.DataFrame | None:
    """The lines as objects, None where there is one that is none."""
    try:
        return pl.read_ndjson(text, schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _bisected(lines: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """``lines`` (line_no, line) as objects, without those that do not fit ``schema``; each is found by halving."""
    pending, found = [lines], []
    while pending:
        part = pending.pop()
        decoded = _decoded("\n".join(part["line"]).encode(), schema) if part.height else None
        if decoded is not None and decoded.height == part.height:
            found.append(decoded.with_columns(part["line_no"]))
        elif part.height > 1:
            half = part.height // 2
            pending += [part.tail(part.height - half), part.head(half)]
    return pl.concat([pl.DataFrame(schema={**schema, "line_no": pl.Int64}), *found])


def sample(head: bytes, *keys: str) -> list[dict[str, Any]]:
    """The objects among the first lines that have all of ``keys``."""
    if not all(b'"%s"' % key.encode() in head for key in keys):
        return []
    found = []
    for line in head.split(b"\n"):
        try:
            value = json.loads(line.lstrip(b"\0").decode(errors="replace")) if b"{" in line else None
        except ValueError:
            continue
        if isinstance(value, dict) and all(key in value for key in keys):
            found.append(value)
    return found


def first_lines(head: bytes) -> bytes:
    """Whole lines at the beginning of a source, enough to see whether its times can be read."""
    whole = head[: head.rfind(b"\n") + 1] or head
    return b"".join(whole.splitlines(keepends=True)[:_SAMPLE])


def text_in(line: bytes, key: str) -> str | None:
    """The text of ``key`` in a line that may be cut off behind it."""
    found = _text_pattern(key).search(line)
    if found is None:
        return None
    try:
        text = json.loads(b'"' + found[1] + b'"', strict=False)
    except ValueError:
        return found[1].decode(errors="replace")
    return str(text)


@cache
def _text_pattern(key: str) -> re.Pattern[bytes]:
    return re.compile(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*' + _STRING)


def inner_prefix(texts: Iterable[str], asked: Reading, *, has_pid: bool, usual: Sequence[str] = ()) -> str | None:
    """The log_line_prefix of the server's lines inside an outer log that has a time; None where there are none.

    ``usual`` are prefixes that a service sets itself. Raises UnknownFormatError where the prefix that was asked for
    reads none of the lines, or nothing says the process.
    """
    text = "\n".join(texts) + "\n"
    found = next((prefix for prefix in usual if match_share(prefix, text) >= _MOST), None) or detect_prefix(text)
    prefix = found if asked.prefix is None else asked.prefix
    if found is None or prefix is None:
        return None
    if match_share(prefix, text) == 0:
        raise UnknownFormatError(
            f"log_line_prefix '{prefix}' reads none of its lines; the lines look like --prefix '{found}'"
        )
    fields = compile_prefix(prefix).fields
    if not fields and "\nLOG:  " not in f"\n{text}":
        return None  # another program says ERROR as well
    if has_pid or {"pid", "session_id"} & set(fields):
        return prefix
    if not fields:
        return None
    raise UnknownFormatError(f"log_line_prefix '{prefix}' has no process id, so lines cannot be told apart: {_ADVICE}")


def begins_record(line: str, prefix: str, *, follow_up: bool = False) -> bool:
    """Whether a line of the server's begins a record; with ``follow_up``, whether it is its DETAIL, STATEMENT …."""
    pattern = _compiled(prefix)
    at = line.find(SEPARATOR)
    while at >= 0:
        match = pattern.match(line[:at])
        if match is not None:
            return (match["severity"] in FOLLOW_UPS) == follow_up
        at = line.find(SEPARATOR, at + 1)
    return False


@cache
def _compiled(prefix: str) -> re.Pattern[str]:
    return re.compile(compile_prefix(prefix).pattern)


def says_time(prefix: str) -> bool:
    """Whether the server's own lines have a time, so that the outer log's is not needed."""
    return bool({"time", "epoch"} & set(compile_prefix(prefix).fields))


def outer_times(printed: pl.Series) -> pl.Series:
    """RFC 3339 times, with a blank for the T or without, as UTC; null where the text is none."""
    cut = printed.rename("printed").to_frame()
    whole = pl.col("printed").str.slice(0, 19).str.replace("T", " ", literal=True)
    rest = pl.col("printed").str.slice(19).str.extract_groups(r"^(?:[.,](\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))?$")
    parts = cut.select(
        whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).cast(pl.Int64).alias("seconds"),
        rest.alias("rest"),
    ).unnest("rest")
    fraction = pl.col("1").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    offset = (pl.col("3").cast(pl.Int64) * 60 + pl.col("4").cast(pl.Int64)) * 60_000_000
    signed = pl.when(pl.col("2") == "-").then(-offset).otherwise(offset).fill_null(0)
    return parts.select((pl.col("seconds") + fraction - signed).cast(pl.Datetime("us", "UTC")).alias("time"))["time"]


def with_pieces_joined(entries: pl.DataFrame) -> pl.DataFrame:
    """Entries of which one is a piece of the line before it (``goes_on``): the first has the whole text."""
    if not entries["goes_on"].any():
        return entries
    number = (~pl.col("goes_on")).cum_sum().over("owner")
    whole = pl.col("text").str.join("").over("owner", "piece_of")
    return (
        entries.with_columns(number.alias("piece_of"))
        .with_columns(
            pl.when(pl.col("text").is_not_null())
            .then(pl.when("goes_on").then(pl.lit("")).otherwise(whole))
            .alias("text")
        )
        .drop("piece_of")
    )


def with_reasons(parsed: Parsed, reasons: pl.DataFrame) -> Parsed:
    """``parsed`` with other reasons for lines that it could not read: ``line_no, other``."""
    if parsed.unparsed.is_empty() or reasons.is_empty():
        return parsed
    unparsed = parsed.unparsed.join(
        reasons.select(pl.col("line_no").cast(pl.Int64), pl.col("other")),
        on="line_no",
        how="left",
        maintain_order="left",
    )
    unparsed = unparsed.with_columns(pl.coalesce("other", "reason").alias("reason")).drop("other")
    return Parsed(parsed.records, unparsed)


def without_objects(parsed: Parsed, found: pl.DataFrame) -> Parsed:
    """``parsed`` with the reason of lines that are no objects."""
    return with_reasons(parsed, found.filter(~pl.col("is_object")).select("line_no", pl.lit(NO_OBJECT).alias("other")))
