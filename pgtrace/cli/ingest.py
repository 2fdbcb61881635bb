"""pgtrace ingest: logs into the lake."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, FormatOption, LakeOption, OutputFormat, app

if TYPE_CHECKING:
    from pgtrace.ingest import SourceResult


@app.command()
def ingest(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs, archives, or - for stdin.")
    ],
    server: Annotated[str, typer.Option("--server", help="Name of the server that wrote the logs.")] = "default",
    log_format: Annotated[str, typer.Option("--log-format", help="auto, stderr, csvlog or jsonlog.")] = "auto",
    prefix: Annotated[str | None, typer.Option("--prefix", help="log_line_prefix; detected if not given.")] = None,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", help="Zone of the log's times where they say CET or the like: Europe/Berlin."),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact",
            help="Leave out constants, parameter values and rows; passwords are masked always. Holds for this run: "
            "a lake may have both.",
        ),
    ] = False,
    pg_waldump: Annotated[
        list[str] | None,
        typer.Option(
            "--pg-waldump",
            metavar="PATH",
            help="pg_waldump, or its folder, for WAL segments of its version; else those on PATH and of packages.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Chunks read at once; default: one per core.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDR", help="Read the chunks on a Dask cluster.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    lake: LakeOption = DEFAULT_LAKE,
    output: FormatOption = OutputFormat.table,
) -> None:
    """Read logs into the lake. What was read before is not read again; a file that grew is read from where it ended.

    Prints one row per source. Exit code 1 where a source could not be read; the others are in the lake then.
    """
    from pgtrace.cli.machine import share_machine

    share_machine()
    import pgtrace
    from pgtrace.cli.output import print_rows
    from pgtrace.cli.progress import progress
    from pgtrace.ingest import results_frame

    with progress(quiet) as reporter:
        results = pgtrace.open(lake).ingest(
            paths,
            server=server,
            log_format=log_format,
            prefix=prefix,
            timezone=timezone,
            redact=redact,
            pg_waldump=pg_waldump or (),
            jobs=jobs,
            dask=dask,
            reporter=reporter,
        )
    print_rows(results_frame(results), output)
    _tell(results)
    if any(result.status == "failed" for result in results):
        raise typer.Exit(1)


def _tell(results: list[SourceResult]) -> None:
    """Print what there is to say, once where the same holds for several sources."""
    told: dict[str, list[str]] = {}
    for result in results:
        if result.message:
            told.setdefault(result.message.removeprefix(f"{result.path}: "), []).append(result.message)
    for first, *others in told.values():
        more = f" (and {len(others)} more)" if others else ""
        print(f"pgtrace: {first}{more}", file=sys.stderr)  # noqa: T201
