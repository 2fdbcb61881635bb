"""pgtrace sql: any SQL over the lake."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, FormatOption, LakeOption, OutputFormat, app
from pgtrace.errors import PgtraceError

if TYPE_CHECKING:
    from pgtrace.api import LakeHandle


@app.command()
def sql(
    text: Annotated[
        str | None, typer.Argument(metavar="[SQL]", help="The SQL; without it the DuckDB shell opens.")
    ] = None,
    lake: LakeOption = DEFAULT_LAKE,
    output: FormatOption = OutputFormat.table,
) -> None:
    """Run SQL with all tables of the lake as views, or open the DuckDB shell on its catalog.

    With SQL on stdin (pgtrace sql < file.sql) that is run.
    """
    import pgtrace
    from pgtrace.cli.output import print_rows

    opened = pgtrace.open(lake)
    if text is None and sys.stdin.isatty():
        _shell(opened)
        return
    print_rows(opened.sql(text if text is not None else sys.stdin.read()).pl(), output)


def _shell(lake: LakeHandle) -> None:
    """The DuckDB shell where it is installed, else a prompt of our own."""
    shell = shutil.which("duckdb")
    if shell is not None:
        raise typer.Exit(subprocess.run([shell, "-readonly", str(lake.refresh_catalog())], check=False).returncode)  # noqa: S603
    print(  # noqa: T201
        "The DuckDB shell is not installed (pip install duckdb-cli); SQL here ends with ';', Ctrl-D leaves.",
        file=sys.stderr,
    )
    _prompt(lake)


def _prompt(lake: LakeHandle) -> None:
    from pgtrace.cli.output import print_rows

    statement = ""
    while True:
        try:
            statement += input("pgtrace> " if not statement else "      -> ") + "\n"
        except EOFError:
            return
        if not statement.rstrip().endswith(";"):
            continue
        try:
            print_rows(lake.sql(statement).pl(), OutputFormat.table)
        except PgtraceError as error:
            print(f"pgtrace: {error}", file=sys.stderr)  # noqa: T201
        statement = ""
