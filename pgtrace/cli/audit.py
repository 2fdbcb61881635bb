"""pgtrace audit: the proof that no line was lost."""

from __future__ import annotations

import typer

from pgtrace.cli.app import DEFAULT_LAKE, FormatOption, LakeOption, OutputFormat, app


@app.command()
def audit(lake: LakeOption = DEFAULT_LAKE, output: FormatOption = OutputFormat.table) -> None:
    """Prove per source that lines in = lines of records + unparsed lines + lines held back.

    Exit code 1 where the sums do not meet or a part of the lake is missing, changed or unknown to its ledger.
    """
    import pgtrace
    from pgtrace.cli.output import print_rows

    rows, problems = pgtrace.open(lake).audit()
    print_rows(rows, output)
    for problem in problems:
        typer.echo(f"pgtrace: {problem}", err=True)
    if problems or not rows["meets"].all():
        raise typer.Exit(1)
