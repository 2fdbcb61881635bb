"""pgtrace demo: sample logs in, the answers out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgtrace.cli.app import OutputFormat, app

if TYPE_CHECKING:
    from pgtrace.api import LakeHandle

#: what is asked about the busiest server: query, title, columns shown, rows shown
_ANSWERS = (
    (
        "slow_queries",
        "The queries that took the most time",
        ("query_text", "calls", "total_ms", "total_pct", "p50_ms", "p95_ms", "p99_ms", "max_ms"),
        8,
    ),
    (
        "checkpoints",
        "What the checkpointer did",
        ("started_at", "completed_at", "reasons", "buffers_written", "write_s", "sync_s", "distance_kb"),
        8,
    ),
    (
        "checkpoint_latency",
        "Queries that started while a checkpoint was under way, and at other times",
        (
            "query_text",
            "calls_inside",
            "calls_outside",
            "p50_inside",
            "p50_outside",
            "p95_inside",
            "p95_outside",
            "p95_ratio",
        ),
        8,
    ),
    (
        "autovacuum_latency",
        "Queries while autovacuum worked on their table, on another, and not at all",
        ("autovacuum", "calls", "mean_ms", "p50_ms", "p95_ms", "p99_ms"),
        3,
    ),
    (
        "temp_files_by_query",
        "Queries that spilled to temporary files",
        ("query_text", "files", "total_bytes", "largest_bytes"),
        5,
    ),
    (
        "lock_waits",
        "Who waited for whom",
        ("waiting_since", "waited_ms", "waiter_query", "mode", "holder_pid", "holder_query", "holder_basis"),
        5,
    ),
)
#: the same for the server with the most WAL
_WAL_ANSWERS = (
    (
        "wal_by_relation",
        "Which relations the WAL is about",
        ("relation", "relation_kind", "fork", "records", "total_bytes", "total_pct", "fpi_bytes", "full_pages"),
        5,
    ),
    (
        "full_page_images_after_checkpoint",
        "Full page images by the seconds since a checkpoint began",
        ("from_s", "until_s", "redo_points", "records", "total_bytes", "fpi_bytes", "fpi_pct"),
        6,
    ),
)
_DEFAULT_LAKE = Path("demo") / "lake"


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Logs; each folder in it is a server.")] = Path(
        "sample_logs"
    ),
    lake: Annotated[Path, typer.Option("--lake", help="The lake to fill.")] = _DEFAULT_LAKE,
) -> None:
    """Ingest the sample logs and print which queries were slow and what else was going on then."""
    from pgtrace.cli.machine import share_machine
    from pgtrace.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; the sample logs are in sample_logs/ of pgtrace's repository")
    share_machine()
    import pgtrace
    from pgtrace.cli.output import print_rows
    from pgtrace.cli.progress import progress

    opened = pgtrace.open(lake)
    servers = sorted(item for item in folder.iterdir() if item.is_dir())
    with progress(quiet=False) as reporter:
        for server in servers or [folder]:
            opened.ingest([str(server)], server=server.name, reporter=reporter)
    print_rows(opened.query("read_summary").pl(), OutputFormat.table, "What was read")
    _answer(opened)
    page = lake.parent / "report.html"
    from pgtrace.report.page import write_page

    write_page(opened, page)
    typer.echo(f"One page with all of it: {page}")
    typer.echo(f"Why was it slow?       pgtrace why --lake {lake} --server pg15-slow50")
    typer.echo(f"Is something wrong?    pgtrace doctor --lake {lake} --server pg15-slow50")
    typer.echo(f"The same data in SQL:  pgtrace sql --lake {lake} 'select * from statement order by duration_ms desc'")
    typer.echo(f"More questions:        pgtrace query --lake {lake}")


def _answer(lake: LakeHandle) -> None:
    busiest = lake.sql("select server from statement group by 1 order by sum(duration_ms) desc, 1 limit 1").fetchall()
    if not busiest:
        typer.echo("There are no statements with a duration in these logs (log_min_duration_statement).")
        return
    [[server]] = busiest
    typer.echo(f"\nThe server that was busiest: {server}\n")
    _print_answers(lake, server, _ANSWERS)
    _why(lake, server)
    for [with_wal] in lake.sql("select server from wal_record group by 1 order by count(*) desc, 1 limit 1").fetchall():
        typer.echo(f"The server with the most WAL: {with_wal}\n")
        _print_answers(lake, with_wal, _WAL_ANSWERS)


def _print_answers(lake: LakeHandle, server: str, answers: Sequence[tuple[str, str, tuple[str, ...], int]]) -> None:
    from pgtrace.cli.output import print_rows

    for name, title, columns, rows in answers:
        found = lake.query(name, server=server).pl()
        print_rows(found.select(columns).head(rows), OutputFormat.table, title)


def _why(lake: LakeHandle, server: str) -> None:
    """The answer of pgtrace why, with its evidence."""
    from pgtrace.cli.causespage import print_causes
    from pgtrace.cli.page import page

    typer.echo("Why was it slow?\n")
    with page() as console:
        print_causes(console, lake.why(server=server))
    typer.echo("")
