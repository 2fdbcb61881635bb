"""pgtrace why: which background events go together with slow queries, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import (
    DEFAULT_LAKE,
    FormatOption,
    LakeOption,
    OutputFormat,
    ServerOption,
    SinceOption,
    UntilOption,
    app,
)
from pgtrace.errors import UsageError

if TYPE_CHECKING:
    from pgtrace.api import LakeHandle


@app.command()
def why(
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="Only this query: a fingerprint, as in pgtrace query.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="The slow episode at, or near, this time; written like --since.")
    ] = None,
    statement: Annotated[
        str | None,
        typer.Option(
            "--statement",
            help="One execution: FILE:LINE or SOURCE_ID:LINE as in pgtrace query slow_statements, PID@TIME, or "
            "SESSION_ID/LINE (%c and %l).",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="A row for everything that was tested.")] = False,
    lake: LakeOption = DEFAULT_LAKE,
    output: FormatOption = OutputFormat.table,
) -> None:
    """What background processes go together with slow queries, ranked, with the evidence."""
    import pgtrace
    from pgtrace.cli.output import print_rows
    from pgtrace.cli.page import page, status

    handle = pgtrace.open(lake)
    span = {"--since": since, "--until": until, "--fingerprint": fingerprint, "--all": everything}
    if statement is not None:
        _refuse({**span, "--at": at}, "--statement")
        _why_statement(handle, statement, server, output)
        return
    if at is not None:
        _refuse(span, "--at")
        _why_at(handle, at, server, output)
        return
    if (
        fingerprint is not None
        and not handle.connection.execute(
            "select 1 from query where fingerprint = $fingerprint limit 1", {"fingerprint": fingerprint}
        ).fetchall()
    ):
        raise UsageError(f"no query has the fingerprint '{fingerprint}': pgtrace query slow_queries lists them")
    with status("reading") as on_step:
        causes = handle.why(since=since, until=until, server=server, fingerprint=fingerprint, on_step=on_step)
    if output is not OutputFormat.table:
        print_rows(causes.rows, output)
        return
    from pgtrace.cli.causespage import print_causes

    with page() as console:
        print_causes(console, causes, of_query=fingerprint is not None, everything=everything)


def _refuse(others: Mapping[str, object], option: str) -> None:
    for name, value in others.items():
        if value:
            raise UsageError(f"{option} and {name} do not go together")


def _why_at(handle: LakeHandle, at: str, server: str | None, output: OutputFormat) -> None:
    import json

    from pgtrace.analysis.explanations import SCHEMA
    from pgtrace.cli.output import print_rows
    from pgtrace.cli.page import page, status
    from pgtrace.timespan import parse_time

    moment = parse_time(at)
    with status("reading") as on_step:
        episode = handle.why_at(moment, server=server, on_step=on_step)
    if output is OutputFormat.json:
        from pgtrace.cli.episodepage import as_parts

        typer.echo(json.dumps(None if episode is None else as_parts(episode), indent=1))
    elif output is not OutputFormat.table:
        import polars as pl

        print_rows(pl.DataFrame(schema=SCHEMA) if episode is None else episode.explanations, output)
    elif episode is None:
        typer.echo(
            f"No slow episode within 15 minutes of {moment:%Y-%m-%d %H:%M:%S} UTC. "
            "pgtrace query episodes lists those that there are."
        )
    else:
        from pgtrace.cli.episodepage import print_episode

        with page() as console:
            print_episode(console, episode, moment)


def _why_statement(handle: LakeHandle, which: str, server: str | None, output: OutputFormat) -> None:
    import json

    from pgtrace.cli.output import print_rows
    from pgtrace.cli.page import page, status
    from pgtrace.cli.statementpage import as_parts, print_statement

    with status("reading") as on_step:
        found = handle.why_statement(which, server=server, on_step=on_step)
    if output is OutputFormat.json:
        typer.echo(json.dumps(as_parts(found), indent=1))
    elif output is not OutputFormat.table:
        print_rows(found.events, output)
    else:
        with page() as console:
            print_statement(console, found)
