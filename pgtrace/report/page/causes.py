"""The ranked causes: what is associated with slow executions, how sure that is, and what was looked at besides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pgtrace.analysis import Causes, verdicts
from pgtrace.analysis.phrases import phrase
from pgtrace.report.page import figures
from pgtrace.report.page.lag import lag_chart
from pgtrace.report.page.markup import Markup, join, paragraph, tag, text
from pgtrace.report.page.section import Section, folded, together
from pgtrace.report.page.span import Span
from pgtrace.report.page.sql import sql_cell
from pgtrace.report.page.table import Column, table, word

_MOST_BLAMED, _MOST_OTHERS, _MOST_QUERIES = 12, 40, 3
#: what is shown around an example, before and after, at least
_AROUND = timedelta(seconds=30)
_SURE, _LIKELY = ("recorded by the server", "strong"), ("moderate", "one of several")
_OTHERS = [
    Column("kind", "Looked at"),
    Column("process", "Process"),
    Column("verdict", "Verdict"),
    Column("slow_ratio", "Slow executions", "times", "as many slow executions inside as just before and after"),
    Column("smallest_ratio_seen", "Smallest seen", "times", "the smallest effect that these events could have shown"),
    Column("events", "Events", "count"),
    Column("query_text", "Query", render=lambda row: _query(row)),
    Column("evidence", "Evidence"),
]


def causes_section(causes: Causes, span: Span) -> Section:
    """What to act on first, then everything else that was tested, folded away."""
    blamed = causes.blamed.head(_MOST_BLAMED)
    items = [_item(row, causes, span) for row in blamed.to_dicts()]
    found = tag("ol", items, class_="causes") if items else None
    nothing = paragraph("Nothing that was tested goes together with slow executions clearly enough to be named.")
    others = causes.rows.filter(~pl.col("rank").is_in(blamed["rank"].to_list())).head(_MOST_OTHERS)
    rest = None
    if others.height:
        left_out = causes.rows.height - blamed.height
        first = f", the first {_MOST_OTHERS}" if left_out > _MOST_OTHERS else ""
        title = f"What else was tested ({left_out:,}{first})"
        rest = folded(title, table(others, _OTHERS, span, "What else was tested"))
    intro = paragraph(
        "An association is a comparison: slow executions that started during events of a kind, against those that "
        "started just before and after. It shows what goes together, not what caused it. Explanations overlap, so "
        "shares do not add up."
    )
    content = None if causes.rows.is_empty() else together(intro, found or nothing, rest)
    why = "There was nothing to compare: it takes executions with a duration, and events beside them."
    return Section(
        "causes", "What slow queries go together with", "Causes", content, why, ("statement", "event_window")
    )


def answer(causes: Causes, span: Span) -> Markup:
    """The page's question answered in a sentence or two, and what limits the answer."""
    facts = causes.facts
    if not facts.get("statements"):
        return paragraph("No executions with a duration were read, so this page cannot say which queries were slow.")
    blamed, several = causes.blamed, len(facts["servers"]) > 1
    sentences = _slow_sentence(facts)
    if not blamed.is_empty():
        sentences += f" First to look at: {'; '.join(_named(row, several) for row in blamed.head(3).to_dicts())}."
    elif facts.get("slow_s"):
        sentences += " No background process is clearly associated with that."
    notes = [text(note) for note in facts.get("notes", [])]
    small = tag("p", join(notes, "<br>"), class_="notes") if notes else Markup("")
    return join([paragraph(sentences), small])


def _slow_sentence(facts: dict[str, Any]) -> str:
    slow_s = facts.get("slow_s") or 0.0
    executions = figures.plural(facts["statements"], "execution")
    if slow_s <= 0:
        return f"None of {executions} took clearly longer than is usual for its query."
    return f"Slow executions took {figures.seconds(slow_s)} longer than is usual for their queries (of {executions})."


def _named(row: dict[str, Any], several_servers: bool) -> str:
    """``vacuums, associated with 3 min of it: ×3.1 as many slow executions (moderate certainty)``."""
    kind = phrase(row["kind"]) + (f" on {row['server']}" if several_servers else "")
    amount = figures.seconds(row["excess_s"] or 0.0)
    if row["verdict"] == verdicts.RECORDED:
        return f"{kind}, {amount} as the server recorded"
    certain = {verdicts.ASSOCIATED: "associated with", verdicts.NOT_SEPARABLE: "which may belong to"}
    words = f"{kind}, {certain.get(row['verdict'], 'coinciding with')} {amount} of it"
    more = f": {figures.times(row['slow_ratio'])} as many slow executions" if row["slow_ratio"] is not None else ""
    sure = f"{row['certainty']} evidence" if row["certainty"] in ("strong", "moderate") else row["certainty"]
    return f"{words}{more} ({sure})"


def _item(row: dict[str, Any], causes: Causes, span: Span) -> Markup:
    queries = _queries_of(causes, row)
    level = "sure" if row["certainty"] in _SURE else "likely" if row["certainty"] in _LIKELY else None
    badge = tag("span", text(row["certainty"]), class_=f"badge {level}" if level else "badge")
    where = " · ".join(str(one) for one in (row["process"], row.get("subject"), row["server"]) if one)
    heading = tag("h3", [tag("span", text(row["kind"][:1].upper() + row["kind"][1:])), badge])
    parts = [
        heading,
        tag("p", [word(row["evidence"]), Markup("<br>"), word(where)], class_="evidence"),
        _share(row, causes),
    ]
    if row["examples"]:
        parts.append(_examples(row["examples"], span))
    if queries:
        title = "The queries that it concerns most"
        parts.append(tag("div", folded(title, _concerned(queries, span)), class_="evidence"))
    return tag("li", parts)


def _share(row: dict[str, Any], causes: Causes) -> Markup:
    lines = []
    if row["excess_s"] is not None:
        lines.append(tag("b", text(figures.seconds(row["excess_s"]))))
    if row["excess_pct"] is not None:
        lines.append(tag("span", text(f"{figures.percent(min(100.0, row['excess_pct']))} of all slow time")))
    if row["slow_ratio"] is not None:
        interval = ""
        if row["slow_ratio_low"] is not None and row["slow_ratio_high"] is not None:
            interval = f" ({figures.number(row['slow_ratio_low'])} to {figures.number(row['slow_ratio_high'])})"
        lines.append(tag("span", text(f"{figures.times(row['slow_ratio'])} as many slow{interval}")))
    if row["times_slower"] is not None:
        lines.append(tag("span", text(f"these take {figures.times(row['times_slower'])} as long")))
    lines.append(tag("span", text(figures.plural(row["events"] or 0, "event"))))
    lines.append(lag_chart(causes.lags, row["server"], row["kind"], row["subject"]))
    return tag("div", lines, class_="share")


def _examples(times: list[datetime], span: Span) -> Markup:
    around = max(_AROUND, timedelta(seconds=span.seconds / 60))
    buttons = [
        tag(
            "button",
            text(span.words(time)),
            type="button",
            class_="jump",
            data_from=span.chart_ms(time - around),
            data_to=span.chart_ms(time + around),
            hidden=True,
        )
        for time in times
    ]
    return tag("div", [tag("span", text("Show on the timeline:")), *buttons], class_="examples")


def _queries_of(causes: Causes, blamed: dict[str, Any]) -> list[dict[str, Any]]:
    """The single queries with the same explanation, those with most slow time first."""
    same = causes.rows.filter(
        pl.col("server") == blamed["server"],
        pl.col("kind") == blamed["kind"],
        pl.col("process").eq_missing(pl.lit(blamed["process"], pl.String)),
        pl.col("verdict") == blamed["verdict"],
        pl.col("query_text").is_not_null(),
    )
    return same.sort("excess_s", descending=True, nulls_last=True).head(_MOST_QUERIES).to_dicts()


def _concerned(queries: list[dict[str, Any]], span: Span) -> Markup:
    columns = [
        Column("query_text", "Query", "sql"),
        Column("excess_s", "Slow time", "s"),
        Column("times_slower", "As long", "times"),
        Column("events", "Events", "count"),
    ]
    schema = {"query_text": pl.String, "excess_s": pl.Float64, "times_slower": pl.Float64, "events": pl.Int64}
    rows = pl.DataFrame([{name: row[name] for name in schema} for row in queries], schema)
    return table(rows, columns, span, "Queries concerned")


def _query(row: dict[str, Any]) -> Markup:
    if row["fingerprint"] is None:
        return tag("span", text("all"), class_="null")
    return sql_cell(row["query_text"])
