"""pgtrace doctor: the four questions, memory, pooling and settings; or what the server should log."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, LakeOption, ServerOption, SinceOption, UntilOption, app
from pgtrace.errors import UsageError

if TYPE_CHECKING:
    from pgtrace.doctor import Diagnosis, LoggingAdvice


class DoctorFormat(StrEnum):
    """A page for people, or JSON for programs."""

    table = "table"
    json = "json"


@app.command()
def doctor(
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A snapshot of pg_settings as CSV; it does not go into the lake.")
    ] = None,
    logging: Annotated[
        bool, typer.Option("--logging", help="Which settings of logging are missing for which answer, and their cost.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where an answer is 'cannot tell' too.")] = False,
    lake: LakeOption = DEFAULT_LAKE,
    output: Annotated[DoctorFormat, typer.Option("--format", help="A page, or json.")] = DoctorFormat.table,
) -> None:
    """High CPU? Disk I/O spiked? Replication lagging? Queries suddenly slow? Exits with 1 where one is yes."""
    import pgtrace
    from pgtrace.cli.page import status
    from pgtrace.doctor.snapshotfile import read_snapshot

    if logging and strict:
        raise UsageError("--logging and --strict do not go together")
    snapshot = None if settings is None else read_snapshot(settings)
    handle = pgtrace.open(lake)
    with status("reading") as on_step:
        if logging:
            from pgtrace.doctor import advise_logging

            advised = advise_logging(
                handle, since=since, until=until, server=server, settings=snapshot, on_step=on_step
            )
        else:
            from pgtrace.doctor import examine

            diagnoses = examine(handle, since=since, until=until, server=server, settings=snapshot, on_step=on_step)
    if logging:
        _print_logging(advised, output)
        return
    _print(diagnoses, output)
    verdicts = {answer.verdict for diagnosis in diagnoses for answer in diagnosis.answers}
    if "yes" in verdicts or (strict and (not diagnoses or "cannot tell" in verdicts)):
        raise typer.Exit(1)


def _print(diagnoses: list[Diagnosis], output: DoctorFormat) -> None:
    import json

    from pgtrace.cli.doctorpage import print_diagnoses
    from pgtrace.cli.page import page
    from pgtrace.doctor.asjson import diagnoses_json

    if output is DoctorFormat.json:
        typer.echo(json.dumps(diagnoses_json(diagnoses), indent=1, ensure_ascii=False))
        return
    with page() as console:
        print_diagnoses(console, diagnoses)


def _print_logging(advised: list[LoggingAdvice], output: DoctorFormat) -> None:
    import json

    from pgtrace.cli.loggingpage import print_logging
    from pgtrace.cli.page import page
    from pgtrace.doctor.asjson import logging_json

    if output is DoctorFormat.json:
        typer.echo(json.dumps(logging_json(advised), indent=1, ensure_ascii=False))
        return
    with page() as console:
        print_logging(console, advised)
