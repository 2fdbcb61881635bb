"""pgtrace schema: tables, columns, units and meanings."""

from __future__ import annotations

from typing import Annotated

import typer

from pgtrace.cli.app import FormatOption, OutputFormat, app


@app.command()
def schema(
    table: Annotated[
        str | None, typer.Argument(metavar="[TABLE]", help="The table; without it all are listed.")
    ] = None,
    output: FormatOption = OutputFormat.table,
) -> None:
    """List the tables, or the columns of one with their types, units and meanings."""
    import polars as pl

    from pgtrace.api import described_tables, table_named
    from pgtrace.cli.output import print_rows

    if table is None:
        tables = described_tables()
        columns = [len(item.columns) + 1 for item in tables.values()]
        rows = {
            "table": list(tables),
            "one row per": [item.one_row_per for item in tables.values()],
            "columns": columns,
        }
        print_rows(pl.DataFrame(rows), output)
        return
    from pgtrace.schema import SERVER

    found = {**SERVER, **table_named(table).columns}
    print_rows(
        pl.DataFrame(
            {
                "column": list(found),
                "type": [column.duckdb_type for column in found.values()],
                "unit": [column.unit or "" for column in found.values()],
                "meaning": [column.meaning for column in found.values()],
            }
        ),
        output,
    )
