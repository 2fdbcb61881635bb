"""Named queries asked for a page."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.errors import PgtraceError
from pgtrace.query import find
from pgtrace.report.page.span import Span


def ask(lake: LakeHandle, span: Span, name: str, **parameters: Any) -> pl.DataFrame:
    """The rows of a named query within the span; a bound that it does not take is left out. Raises PgtraceError."""
    bounds = {key: value for key, value in span.bounds.items() if key in find(name).parameters}
    try:
        rows: pl.DataFrame = lake.query(name, **bounds, **parameters).pl()
    except duckdb.Error as error:
        raise PgtraceError(f"query {name}: {str(error).splitlines()[0]}") from None
    return rows


def condensed(lake: LakeHandle, span: Span, name: str, select: str, group_by: str, order: str) -> pl.DataFrame:
    """The rows of a named query summed up by DuckDB, where they may be many. Raises PgtraceError."""
    bounds = {key: value for key, value in span.bounds.items() if key in find(name).parameters}
    try:
        rows: pl.DataFrame = lake.query(name, **bounds).aggregate(select, group_by).order(order).pl()
    except duckdb.Error as error:
        raise PgtraceError(f"query {name}: {str(error).splitlines()[0]}") from None
    return rows
