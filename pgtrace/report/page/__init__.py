"""One self-contained HTML page: the timeline, the causes, and every section with its evidence.

Everything that may be large is summed up by DuckDB into at most some hundred steps or rows, so a page is below 3 MB
whatever the size of the log. It loads nothing: it works from a file, without a network.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pgtrace.api import LakeHandle
from pgtrace.errors import PgtraceError
from pgtrace.report.page.background import checkpoints_section, vacuum_section
from pgtrace.report.page.causes import answer, causes_section
from pgtrace.report.page.failures import errors_section, server_section
from pgtrace.report.page.head import bar, heading, tiles, title_words
from pgtrace.report.page.markup import join, paragraph, tag
from pgtrace.report.page.queries import queries_section
from pgtrace.report.page.sessions import sessions_section
from pgtrace.report.page.shell import document
from pgtrace.report.page.sources import sources_section
from pgtrace.report.page.span import Span, asked_span
from pgtrace.report.page.streams import replication_section, wal_section
from pgtrace.report.page.timeline import lane_rows, latency_rows, wal_rows
from pgtrace.report.page.timelinepart import timeline_part
from pgtrace.report.page.waits import locks_section, temp_section

__all__ = ["page_html", "write_page"]


def write_page(
    lake: LakeHandle,
    path: Path,
    *,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    server: str | None = None,
    timezone: str = "UTC",
) -> int:
    """Write the page about what started in a span to ``path``, which holds the old page or the new one at any instant.

    Times are shown by the clock of ``timezone``, and read by it where they have no offset. Returns the bytes written.
    Raises UsageError for times and zones that cannot be read, PgtraceError where a query fails or ``path`` cannot be
    written.
    """
    content = page_html(lake, asked_span(lake, since, until, server, timezone)).encode()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise PgtraceError(f"{path}: the page cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return len(content)


def page_html(lake: LakeHandle, span: Span) -> str:
    """The page as text."""
    causes = lake.why(since=span.since, until=span.until, server=span.server)
    datasets = {"steps": latency_rows(lake, span), "lanes": lane_rows(lake, span), "wal": wal_rows(lake, span)}
    spec, timeline = timeline_part(span, datasets)
    sections = [
        causes_section(causes, span),
        queries_section(lake, span),
        checkpoints_section(lake, span),
        vacuum_section(lake, span),
        temp_section(lake, span),
        locks_section(lake, span),
        errors_section(lake, span),
        sessions_section(lake, span),
        replication_section(lake, span),
        wal_section(lake, span),
        server_section(lake, span),
    ]
    sections.append(sources_section(lake, span, sections))
    top = join([heading(lake, span), tag("div", answer(causes, span), class_="answer"), tiles(lake, span)])
    made = (
        f"Made by pgtrace {version('pgtrace')} on {span.words(datetime.now(UTC))} {span.zone.key}, out of {lake.path}."
    )
    footer = tag("footer", paragraph(made))
    main = tag("main", [top, timeline, *(section.html() for section in sections), footer], id="main", tabindex="-1")
    tip = tag("div", id="tip", role="tooltip", hidden=True)
    body = join([bar(sections, has_timeline=bool(spec)), main, tip])
    return document(title_words(span), body, spec, datasets)
