"""Rows as CSV: RFC 4180, times as ISO 8601 in UTC, lists as PostgreSQL array literals, so that COPY reads them."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import polars.selectors as cs

_ISO = "%Y-%m-%dT%H:%M:%S%.6fZ"
#: texts that a spreadsheet may run (blanks before the sign do not stop it), with any apostrophes that are there already
_FORMULA = r"^'*(?:[\t\r\n]|[\x01-\x20\x{a0}\x{feff}]*[=+\-@＝＋－＠])"  # noqa: RUF001  the wide signs are meant
_MADE_HARMLESS = re.compile("'" + _FORMULA[1:].replace(r"\x{a0}", "\xa0").replace(r"\x{feff}", "\ufeff"))


def with_iso_times(rows: pl.DataFrame) -> pl.DataFrame:
    """Times as text, ``2026-11-24T06:32:07.506000Z``."""
    times = {name: dtype for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)}
    lists = {
        name: dtype.inner
        for name, dtype in rows.schema.items()
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Datetime)
    }
    return rows.with_columns(
        *(_iso(pl.col(name), dtype) for name, dtype in times.items()),
        *(pl.col(name).list.eval(_iso(pl.element(), dtype)) for name, dtype in lists.items()),
    )


def _iso(column: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    return (column.dt.convert_time_zone("UTC") if dtype.time_zone else column).dt.strftime(_ISO)


def to_csv(rows: pl.DataFrame) -> str:
    """The rows with a header line. Null is an empty field, an empty text is ``""``."""
    return _flat(rows).write_csv(line_terminator="\r\n", quote_style="necessary")


def write_csv(rows: pl.DataFrame, path: Path, *, raw_cells: bool = False) -> int:
    """Write the rows as ``to_csv`` has them to a file; returns how many cells were made harmless.

    Those are texts that a spreadsheet would run as a formula, and get an apostrophe in front unless ``raw_cells``;
    ``unescaped`` takes it away again. NUL, which PostgreSQL cannot store, becomes U+FFFD.
    """
    texts = cs.string()
    whole = rows.with_columns(texts.str.replace_all("\0", "\ufffd", literal=True))
    whole = whole.with_columns(
        pl.col(name).list.eval(pl.element().str.replace_all("\0", "\ufffd", literal=True))
        for name, dtype in rows.schema.items()
        if dtype == pl.List(pl.String)
    )
    harmless = 0
    if not raw_cells:
        runs = texts.str.contains(_FORMULA)
        counts = whole.select(runs.sum())
        harmless = sum(counts.row(0)) if counts.width else 0
        whole = whole.with_columns(pl.when(runs).then(pl.lit("'") + texts).otherwise(texts).name.keep())
    _flat(whole).write_csv(path, line_terminator="\r\n", quote_style="necessary")
    return harmless


def unescaped(text: str) -> str:
    """The text of a cell without the apostrophe that ``write_csv`` may have put there."""
    return text[1:] if _MADE_HARMLESS.match(text) else text


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    lists = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.List)]
    return with_iso_times(rows).with_columns(_array(name).alias(name) for name in lists)


def _array(name: str) -> pl.Expr:
    """``{a,"b c",NULL}``: every element quoted, so that commas, braces and NULL in texts stay texts."""
    element = pl.element().cast(pl.String)
    quoted = pl.lit('"') + element.str.replace_all(r'(["\\])', r"\$1") + pl.lit('"')
    joined = pl.col(name).list.eval(quoted.fill_null("NULL")).list.join(",")
    return pl.when(pl.col(name).is_not_null()).then(pl.lit("{") + joined + pl.lit("}"))
