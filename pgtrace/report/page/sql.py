"""SQL texts: one line to see, the whole one laid out to open."""

from __future__ import annotations

from functools import lru_cache

import postgast

from pgtrace.report.page.markup import LONGEST, Markup, tag, text

_SUMMARY = 110
#: laying out takes some 100 µs for a usual text, and longer for what is longer
_LAID_OUT = 20_000


def sql_cell(query_text: str | None) -> Markup:
    """A line of the SQL that opens to all of it; null is SQL that was not logged."""
    if query_text is None:
        return tag("span", text("(not logged)"), class_="null")
    line = " ".join(query_text[: 4 * _SUMMARY].split())
    laid_out = formatted(query_text)
    if len(line) <= _SUMMARY // 2 and len(query_text) <= 4 * _SUMMARY:
        return tag("code", text(line), dir="auto")
    short = line if len(line) <= _SUMMARY else line[:_SUMMARY].rstrip() + " …"
    summary = tag("summary", tag("code", text(short), dir="auto"))
    whole = tag("pre", tag("code", text(laid_out, LONGEST)), dir="auto", tabindex="0")
    return tag("details", [summary, whole], class_="sql")


@lru_cache(maxsize=2000)
def formatted(query_text: str) -> str:
    """The SQL laid out; what PostgreSQL's grammar does not accept, as SQL that was cut off, stays as it is."""
    if len(query_text) > _LAID_OUT:
        return query_text
    try:
        return str(postgast.format_sql(query_text)).removesuffix(";")
    except (postgast.PgQueryError, RecursionError, ValueError):
        return query_text
