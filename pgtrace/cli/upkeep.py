"""pgtrace compact and prune: upkeep of the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from pgtrace.cli.app import DEFAULT_LAKE, LakeOption, app


@app.command()
def compact(lake: LakeOption = DEFAULT_LAKE) -> None:
    """Merge the small files of each day into few; the rows stay the same."""
    import pgtrace

    merged, made = pgtrace.open(lake).compact()
    typer.echo(f"merged {merged} files into {made}")


@app.command()
def prune(
    before: Annotated[str, typer.Option("--before", help="Days before this one go: 2026-11-01, -30d.")],
    lake: LakeOption = DEFAULT_LAKE,
) -> None:
    """Remove the days before a date. They are not read again from logs that still hold them."""
    import pgtrace

    removed = pgtrace.open(lake).prune(before)
    typer.echo(f"removed {removed} files")
