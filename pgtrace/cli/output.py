"""Rows on stdout, as a table for people or as csv, json or parquet for programs."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

from pgtrace.cli.app import OutputFormat
from pgtrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

#: longest text shown in a table's cell; csv and json have it whole
_WIDEST = 100
_PIPE_WIDTH = 200


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
    else:
        if sys.stdout.isatty():
            raise UsageError(
                "parquet is not for a terminal: send it to a file, as in pgtrace query NAME --format parquet > f"
            )
        rows.write_parquet(sys.stdout.buffer)


def _print_table(rows: pl.DataFrame, title: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, dtype in rows.schema.items():
        is_text = not dtype.is_numeric()
        table.add_column(name, justify="left" if is_text else "right", overflow="ellipsis", no_wrap=True)
    for row in rows.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)
    if rows.is_empty():
        console.print("no rows")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
