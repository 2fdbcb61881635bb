"""pgtrace report: one CSV per query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, LakeOption, ServerOption, SinceOption, UntilOption, app


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", help="The folder to write to; it is made if needed.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Queries; default: all of them.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="One CSV file per query (the default and only form so far).")
    ] = True,
    lake: LakeOption = DEFAULT_LAKE,
) -> None:
    """Write one CSV file per query, NAME.csv, and print what was written.

    A file appears whole or not at all, so a reader never sees half of one.
    """
    import pgtrace
    from pgtrace.report import write_csv_report

    for path, rows in write_csv_report(pgtrace.open(lake), out, names or [], since=since, until=until, server=server):
        typer.echo(f"{path}  {rows} rows")
