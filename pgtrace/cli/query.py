"""pgtrace query: the named queries."""

from __future__ import annotations

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

if TYPE_CHECKING:
    import polars as pl


@app.command()
def query(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The query; without it all are listed.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the query.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    server: ServerOption = None,
    show_sql: Annotated[
        bool, typer.Option("--show-sql", help="Print the query's SQL and parameters; do not run it.")
    ] = False,
    lake: LakeOption = DEFAULT_LAKE,
    output: FormatOption = OutputFormat.table,
) -> None:
    """List the named queries with the questions they answer, or run one."""
    from pgtrace.cli.output import print_rows

    if name is None:
        print_rows(_listing(), output)
        return
    if show_sql:
        from pgtrace.query import find

        typer.echo(find(name).sql)
        return
    import pgtrace

    parameters = _parameters(settings or [], since, until, server)
    print_rows(pgtrace.open(lake).query(name, **parameters).pl(), output)


def _listing() -> pl.DataFrame:
    import polars as pl

    from pgtrace.query import queries

    found = queries()
    parameters = [", ".join(query.parameters) for query in found.values()]
    return pl.DataFrame(
        {"query": list(found), "question": [item.question for item in found.values()], "parameters": parameters}
    )


def _parameters(settings: list[str], since: str | None, until: str | None, server: str | None) -> dict[str, object]:
    from pgtrace.errors import UsageError

    parameters: dict[str, object] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise UsageError(f"--set {setting}: write it as KEY=VALUE")
        parameters[key] = value
    given = {"since": since, "until": until, "server": server}
    return parameters | {key: value for key, value in given.items() if value is not None}
