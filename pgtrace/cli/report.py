"""pgtrace report: the answers to the named queries, as files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, LakeOption, ServerOption, app


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", help="The folder of the report, which holds nothing else.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Queries; default: all of them.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="From this time on: 2026-11-24, '2026-11-24 14:05', -90min, today, yesterday, -1d, 'this week', "
            "'last week', 'this month', 'last month'. Days begin at midnight of --timezone; -1d is yesterday's.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before this time; written like --since.")] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", help="Zone of the days and times in --since and --until: Europe/Berlin.")
    ] = "UTC",
    server: ServerOption = None,
    csv: Annotated[bool, typer.Option("--csv/--no-csv", help="NAME.csv, which COPY … CSV HEADER loads.")] = True,
    parquet: Annotated[bool, typer.Option("--parquet", help="NAME.parquet.")] = False,
    json: Annotated[bool, typer.Option("--json", help="NAME.json, an array of objects.")] = False,
    html: Annotated[bool, typer.Option("--html", help="report.html, one page that needs no network.")] = False,
    raw_cells: Annotated[
        bool,
        typer.Option(
            "--raw-cells",
            help="Leave texts in the CSV as they are. Without it a text that a spreadsheet would run as a formula gets "
            "an apostrophe in front.",
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[QUERY.]KEY=VALUE", help="A parameter, of one query or of all that have it."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless it fails.")] = False,
    lake: LakeOption = DEFAULT_LAKE,
) -> None:
    """Write the answers of the named queries to a folder, and manifest.json, which says what they are of.

    The folder appears whole, in place of an older report, or not at all. Prints one line per file.
    """
    import pgtrace
    from pgtrace.report import Wanted, write_report
    from pgtrace.report.write import settings_of
    from pgtrace.timespan import window

    formats = [name for name, is_wanted in (("csv", csv), ("parquet", parquet), ("json", json)) if is_wanted]
    wanted = Wanted(
        window(since, until, timezone),
        tuple(names or ()),
        server,
        tuple(formats),
        html,
        dict(settings_of(settings or [])),
        raw_cells,
    )
    wanted.chosen()  # a wrong name is told before a lake is made
    with _status(quiet) as on_query:
        made = write_report(pgtrace.open(lake), out, wanted, on_query)
    if quiet:
        return
    for file in made.files:
        typer.echo(f"{file.path}  {file.bytes} bytes" if file.rows is None else f"{file.path}  {file.rows} rows")
    tables = {item.table: item.needs for item in made.missing}
    if tables:
        typer.echo(f"pgtrace: without rows: {', '.join(sorted(tables))}; manifest.json says what each needs", err=True)


@contextmanager
def _status(quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """What is being asked, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield lambda name: status.update(f"reading {name}")
