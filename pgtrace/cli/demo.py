"""pgtrace demo: sample logs in, the answers out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pgtrace.cli.app import OutputFormat, app

#: what the demo asks, and with which parameters
_ANSWERS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("read_summary", "What was read", {}),
    ("slow_queries", "The queries that took the most time", {"top": 8}),
    ("checkpoint_latency", "Queries while a checkpoint was under way, and not", {}),
    ("autovacuum_latency", "Queries while autovacuum worked on their table, on another, and not at all", {}),
    ("temp_files_by_query", "Queries that spilled to temporary files", {"top": 5}),
    ("lock_waits", "Who waited for whom", {"top": 5}),
)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Logs; each folder in it is a server.")] = Path(
        "sample_logs"
    ),
    lake: Annotated[Path | None, typer.Option("--lake", help="Keep the lake here; default: a temporary one.")] = None,
) -> None:
    """Ingest the sample logs and print which queries were slow and what else was going on."""
    from pgtrace.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; the sample logs are in sample_logs/ of the pgtrace repository")
    if lake is not None:
        _show(folder, lake)
        return
    with tempfile.TemporaryDirectory(prefix="pgtrace-demo-") as temporary:
        _show(folder, Path(temporary))


def _show(folder: Path, lake: Path) -> None:
    import pgtrace
    from pgtrace.cli.output import print_rows
    from pgtrace.cli.progress import progress

    opened = pgtrace.open(lake)
    servers = sorted(item for item in folder.iterdir() if item.is_dir())
    with progress(quiet=False) as reporter:
        for server in servers:
            opened.ingest([str(server)], server=server.name, reporter=reporter)
        if not servers:
            opened.ingest([str(folder)], reporter=reporter)
    for name, title, parameters in _ANSWERS:
        print_rows(opened.query(name, **parameters).pl(), OutputFormat.table, title)
