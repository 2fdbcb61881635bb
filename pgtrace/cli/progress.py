"""Progress on stderr: a bar on a terminal, a plain line per source elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pgtrace.ingest.reporter import Reporter, Silent


class Plain(Silent):
    """Lines, for a log of cron or CI: one when a source is begun."""

    def __init__(self) -> None:
        self._label: str | None = None

    def advance(self, label: str, size: int) -> None:
        """Name a source when it is begun."""
        if label != self._label:
            self._label = label
            self.message(f"reading {label}")

    def message(self, text: str) -> None:
        """A line of its own."""
        print(f"pgtrace: {text}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def progress(quiet: bool) -> Iterator[Reporter]:
    """The reporter that fits stderr."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield Plain()
    else:
        with _bar() as reporter:
            yield reporter


@contextmanager
def _bar() -> Iterator[Reporter]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        class Bar(Silent):
            def start(self, total_bytes: int | None, sources: int) -> None:
                bar.update(task, total=total_bytes)

            def advance(self, label: str, size: int) -> None:
                bar.update(task, advance=size, description=label[-40:])

            def message(self, text: str) -> None:
                bar.console.print(f"pgtrace: {text}")

        yield Bar()
