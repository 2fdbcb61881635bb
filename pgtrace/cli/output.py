"""Rows on stdout, as a table for people or as csv, json or parquet for programs."""

from __future__ import annotations

import io
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.cli.app import OutputFormat
from pgtrace.cli.page import one_line
from pgtrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

#: longest text shown in a table's cell; csv and json have it whole
_WIDEST = 100
#: narrowest a column of text becomes on a terminal
_NARROWEST = 12
#: where output goes to a file there is no edge to fit
_NO_EDGE = 10_000


def print_rows(rows: pl.DataFrame, output: OutputFormat, title: str | None = None) -> None:
    """Print ``rows`` on stdout. Raises UsageError for parquet on a terminal."""
    if output is OutputFormat.table:
        _print_table(rows, title)
    elif output is OutputFormat.csv:
        from pgtrace.report.csvfile import to_csv

        sys.stdout.write(to_csv(rows))
    elif output is OutputFormat.json:
        from pgtrace.report.csvfile import with_iso_times

        sys.stdout.write(with_iso_times(rows).write_json() + "\n")
    elif sys.stdout.isatty():
        raise UsageError("parquet is not for a terminal: send it to a file, as in --format parquet > rows.parquet")
    else:
        # by way of memory: Polars has an error of its own for a pipe whose reader went away
        file = io.BytesIO()
        rows.write_parquet(file)
        sys.stdout.buffer.write(file.getbuffer())


def _print_table(rows: pl.DataFrame, title: str | None) -> None:
    import polars as pl
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _NO_EDGE)
    if title is not None:
        console.print(Text(title, style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cells = [[_cell(value) for value in row] for row in rows.iter_rows()]
    for number, (name, dtype) in enumerate(rows.schema.items()):
        is_text = dtype in (pl.String, pl.List)
        width = max([len(name), *(len(row[number]) for row in cells)])
        table.add_column(
            name,
            justify="right" if dtype.is_numeric() else "left",
            overflow="ellipsis",
            no_wrap=True,
            min_width=min(width, _NARROWEST) if is_text else width,
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    if not cells:
        console.print("no rows\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    return one_line(str(value), _WIDEST)
