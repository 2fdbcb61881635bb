"""Tables: cells by the kind of their column, headings that sort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pgtrace.report.page import figures
from pgtrace.report.page.markup import Markup, join, tag, text
from pgtrace.report.page.span import Span
from pgtrace.report.page.sql import sql_cell

_NUMBERS: dict[str, Callable[[float], str]] = {
    "count": figures.count,
    "number": figures.number,
    "ms": figures.milliseconds,
    "s": figures.seconds,
    "size": figures.size,
    "mb": lambda value: f"{value:,.0f} MB",
    "pct": figures.percent,
    "times": figures.times,
}

#: words of a list that are shown
_MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in the frame, its heading, how its values read, and what a hover tells of it.

    ``kind`` is count, number, ms, s, size, mb, pct, times, time, text, sql, list or yes; ``render`` makes the cell's
    HTML out of the whole row instead.
    """

    name: str
    heading: str
    kind: str = "text"
    hint: str | None = None
    render: Callable[[dict[str, Any]], Markup] | None = None


def table(rows: pl.DataFrame, columns: Sequence[Column], span: Span, caption: str) -> Markup:
    """The rows as a table in a box that scrolls by itself. ``caption`` is for who listens, it is not seen.

    Columns that tell nothing are left out: those without any value, and the server's where there is one.
    """
    columns = [column for column in columns if column.render is not None or _tells(rows, column.name)]
    head = tag("tr", [_heading(column) for column in columns])
    body = [tag("tr", [_cell(column, row, span) for column in columns]) for row in rows.to_dicts()]
    inner = [tag("caption", text(caption)), tag("thead", head), tag("tbody", body)]
    return tag(
        "div", tag("table", inner, class_="sortable"), class_="scroll", tabindex="0", role="region", aria_label=caption
    )


def _tells(rows: pl.DataFrame, name: str) -> bool:
    return rows[name].n_unique() > 1 if name == "server" else rows[name].null_count() < rows.height


def _heading(column: Column) -> Markup:
    button = tag("button", text(column.heading), type="button", title=column.hint)
    return tag("th", button, scope="col", class_="n" if column.kind in _NUMBERS else None)


def _cell(column: Column, row: dict[str, Any], span: Span) -> Markup:
    if column.render is not None:
        return tag("td", column.render(row), class_="r")
    value = row[column.name]
    if column.kind == "sql":
        return tag("td", sql_cell(value), class_="q")
    if value is None:
        return tag("td", text(figures.NOTHING), class_="n null" if column.kind in _NUMBERS else "null", data_v="")
    if column.kind in _NUMBERS:
        return tag("td", text(_NUMBERS[column.kind](value)), class_="n", data_v=f"{value:.6g}")
    if isinstance(value, datetime):
        return tag("td", span.html(value), class_="t")
    if column.kind == "yes":
        return tag("td", text("yes" if value else "no"))
    if column.kind == "list":
        return tag("td", join((word(item) for item in value[:_MOST_WORDS]), ", "), title=_left_out(value))
    return tag("td", word(value))


def _left_out(words: list[object]) -> str | None:
    return f"{len(words):,} in all" if len(words) > _MOST_WORDS else None


def word(value: object) -> Markup:
    """A name from the log: of a direction of its own, so that it cannot turn its neighbours round."""
    return tag("bdi", text(value, 300))
