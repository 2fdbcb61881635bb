"""Lines whose heads were read, put together to records: what every log that carries stderr's lines has in common.

A record is a line with a level (LOG, ERROR, …) and its DETAIL, HINT, CONTEXT, STATEMENT, QUERY, LOCATION and BACKTRACE
lines. Source: ``send_message_to_server_log`` in src/backend/utils/error/elog.c.
"""

from __future__ import annotations

import polars as pl

from pgtrace.prefix import FOLLOW_UPS
from pgtrace.schema import RECORD, UNPARSED, polars_schema

_CURSOR = r"(?s)^(?P<message>.*) at character (?P<position>\d+)$"
#: columns that the lines of a record fill; "MEMORY" marks memory contexts, which have no level of their own
_COLUMNS = {**FOLLOW_UPS, "MEMORY": "memory_contexts"}
NO_PREFIX = "does not begin with the log_line_prefix"
NO_RECORD = "goes on with a record that is not in the file"


def with_pid(frame: pl.DataFrame) -> pl.DataFrame:
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


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
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


def unparsed(frame: pl.DataFrame, unread: pl.Series, mark: str) -> pl.DataFrame:
    """One row per line that belongs to no record, with the time of the record before it.

    ``mark`` stands in ``line`` where one line of the frame is several of the file.
    """
    schema = polars_schema({name: UNPARSED.columns[name] for name in ("line_no", "text", "reason", "near")})
    if not unread.any():
        return schema.to_frame()
    reason = pl.when(pl.col("severity").is_null()).then(pl.lit(NO_PREFIX)).otherwise(pl.lit(NO_RECORD))
    rows = frame.with_columns(pl.col("logged_at").forward_fill().alias("near"), reason.alias("reason")).filter(unread)
    rows = rows.with_columns(pl.col("line").str.split(mark)).explode("line")
    nth = pl.int_range(pl.len()).over("line_no")
    return rows.select((pl.col("line_no") + nth).alias("line_no"), pl.col("line").alias("text"), "reason", "near")


def assembled(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per record, with the text of its other lines in columns."""
    records = frame.filter("is_start").drop("is_start").rename({"text": "message"})
    others = frame.filter(~pl.col("is_start")).select("record_no", "severity", "text", "line_count")
    if others.is_empty():
        return records.drop("record_no")
    for severity in others["severity"].unique():
        column = _COLUMNS[severity]
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


def as_csvlog(records: pl.DataFrame) -> pl.DataFrame:
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
