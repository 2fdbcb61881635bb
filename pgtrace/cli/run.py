"""pgtrace run: the one command for cron, a systemd timer or Airflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import app

if TYPE_CHECKING:
    from pgtrace.scheduled import Outcome


@app.command()
def run(
    config: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="What to read and to write; docs/scheduling.md describes it.")
    ] = Path("pgtrace.toml"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, print what would be read and written; touch nothing.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="Make the reports as if it were that time, for a run that was missed: 2026-11-24, -1d.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also a line per source and per report file.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless something is wrong.")] = False,
) -> None:
    """Read what is new in the sources of a file, write its reports, and remove what is old. Prints one line.

    Nothing new is no error. A source or report that fails keeps no other from being done; each failure is a line on
    stderr, and the exit code is 1. A second run on the same lake ends at once with exit code 1.
    """
    from pgtrace.cli.machine import share_machine

    share_machine()
    from datetime import UTC, datetime

    from pgtrace import scheduled
    from pgtrace.cli.progress import progress
    from pgtrace.config import read_config
    from pgtrace.timespan import parse_time

    now = datetime.now(UTC) if as_of is None else parse_time(as_of)
    read = read_config(config)
    if dry_run:
        lines, problems = scheduled.dry_run(read, now)
        typer.echo("\n".join(lines))
        _tell(problems)
        raise typer.Exit(1 if problems else 0)
    with progress(quiet or not (verbose or sys.stderr.isatty())) as reporter:
        outcome = scheduled.run(read, now, reporter)
    if verbose and not quiet:
        _list(outcome)
    if not quiet:
        _tell(outcome.notes)
        typer.echo(outcome.summary)
    _tell(outcome.problems)
    if outcome.problems:
        raise typer.Exit(1)


def _list(outcome: Outcome) -> None:
    for source in outcome.sources:
        typer.echo(f"{source.status:<8} {source.path}  {source.lines} new lines as server {source.server}")
    for report in outcome.reports:
        for file in report.files:
            rows = "" if file.rows is None else f"  {file.rows} rows"
            typer.echo(f"wrote    {file.path}{rows}")
    for path in outcome.removed:
        typer.echo(f"removed  {path}")


def _tell(lines: list[str]) -> None:
    for line in lines:
        typer.echo(f"pgtrace: {line}", err=True)
