"""Rows as CSV: RFC 4180, times as ISO 8601 in UTC, lists as PostgreSQL array literals, so that COPY reads them."""

from __future__ import annotations

import polars as pl

_ISO = "%Y-%m-%dT%H:%M:%S%.6fZ"


def with_iso_times(rows: pl.DataFrame) -> pl.DataFrame:
    """Times as text, ``2026-11-24T06:32:07.506000Z``."""
    times = {name: dtype for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)}
    utc = [
        pl.col(name).dt.convert_time_zone("UTC") if dtype.time_zone else pl.col(name) for name, dtype in times.items()
    ]
    return rows.with_columns(column.dt.strftime(_ISO) for column in utc)


def to_csv(rows: pl.DataFrame) -> str:
    """The rows with a header line. Null is an empty field, an empty text is ``""``."""
    lists = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.List)]
    flat = with_iso_times(rows).with_columns(_array(name).alias(name) for name in lists)
    return flat.write_csv(line_terminator="\r\n", quote_style="necessary")


def _array(name: str) -> pl.Expr:
    """``{a,"b c"}``: every element quoted, so that commas, braces and NULL in texts stay texts."""
    element = pl.element().cast(pl.String)
    quoted = pl.lit('"') + element.str.replace_all(r'(["\\])', r"\$1") + pl.lit('"')
    joined = pl.col(name).list.eval(quoted).list.join(",")
    return pl.when(pl.col(name).is_not_null()).then(pl.lit("{") + joined + pl.lit("}"))
