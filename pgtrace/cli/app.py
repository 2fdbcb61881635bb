"""The typer application and the options that several commands share. Nothing heavy is imported here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="pgtrace",
    help="Which PostgreSQL queries got slow, which background process was responsible, and how sure are we?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class OutputFormat(StrEnum):
    """How rows are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


LakeOption = Annotated[
    Path, typer.Option("--lake", envvar="PGTRACE_LAKE", help="The folder that holds the data.", show_default=True)
]
FormatOption = Annotated[OutputFormat, typer.Option("--format", help="csv is RFC 4180 with times as ISO 8601 in UTC.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="From this time on: 2026-11-24, 2026-11-24 14:05, -1d, -90min, today.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Before this time; written like --since.")]
ServerOption = Annotated[str | None, typer.Option("--server", help="Only this server.")]
DEFAULT_LAKE = Path("lake")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pgtrace {version('pgtrace')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


from pgtrace.cli import audit, demo, doctor, ingest, query, report, run, schema, sql, upkeep, why  # noqa: E402, F401
