"""What was read, what was not, and what the logs could not tell."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup, join, paragraph, tag, text
from pgtrace.report.page.section import Section, folded, part, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import Column, table

_SOURCES, _UNPARSED, _KINDS = 60, 30, 30


def sources_section(lake: LakeHandle, span: Span, others: Sequence[Section]) -> Section:
    """Sources with their lines, lines that were not read, messages that no table reads, and the empty sections."""
    rows = ask(lake, span, "read_summary")
    content = None
    if rows.height:
        content = together(
            _in_words(rows),
            _sources(rows, span),
            part("Lines that were not read", _unparsed(lake, span)),
            part("What would fill the sections without data", _settings(others)),
            _coverage(lake, span),
        )
    return Section("sources", "What was read, and what was not", "Read", content, "Nothing was read.", ("source",))


def _in_words(rows: pl.DataFrame) -> Markup:
    lines, records, unparsed = (int(rows[name].sum()) for name in ("lines", "records", "unparsed"))
    share = "every line belongs to a record" if unparsed == 0 else f"{figures.plural(unparsed, 'line')} to none"
    return paragraph(
        f"{figures.plural(lines, 'line')} in {figures.plural(rows.height, 'source')}: "
        f"{figures.plural(records, 'record')}, {share}."
    )


def _sources(rows: pl.DataFrame, span: Span) -> Markup:
    columns = [
        Column("path", "Source"),
        Column("server", "Server"),
        Column("log_format", "Format"),
        Column("lines", "Lines", "count"),
        Column("records", "Records", "count"),
        Column("unparsed", "Not read", "count"),
        Column("first_at", "First time", "time"),
        Column("last_at", "Last time", "time"),
    ]
    found = table(rows.sort("lines", descending=True).head(_SOURCES), columns, span, "Sources")
    left = rows.height - _SOURCES
    return join([found, paragraph(f"and {left:,} smaller ones", "none")]) if left > 0 else found


def _unparsed(lake: LakeHandle, span: Span) -> Markup | None:
    """Where they are and why; their texts may hold what SQL was given, so they stay in the lake."""
    rows = ask(lake, span, "unparsed_lines", top=_UNPARSED)
    if rows.is_empty():
        return None
    columns = [
        Column("path", "Source"),
        Column("line_no", "Line", "count"),
        Column("reason", "Why"),
        Column("near", "Near", "time"),
    ]
    return table(rows, columns, span, "Lines that were not read")


def _settings(others: Sequence[Section]) -> Markup | None:
    """The settings that would fill the sections without data."""
    wanted: dict[str, list[str]] = {}
    for section in others:
        for setting in section.settings() if section.content is None else ():
            wanted.setdefault(setting, []).append(section.title)
    items = [
        tag("li", [tag("code", text(setting)), text(f" – {', '.join(titles)}")]) for setting, titles in wanted.items()
    ]
    return tag("ul", items) if items else None


def _coverage(lake: LakeHandle, span: Span) -> Markup:
    columns = [
        Column("kind", "Table"),
        Column("severity", "Level"),
        Column("message", "Message"),
        Column("records", "Records", "count"),
        Column("share_pct", "Of all", "pct"),
    ]
    rows = ask(lake, span, "coverage", most=_KINDS)
    return folded("Which messages the tables read, and which they do not", table(rows, columns, span, "Messages read"))
