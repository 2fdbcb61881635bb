"""The top of the page: the bar, the answer, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgtrace.api import LakeHandle
from pgtrace.report.page import figures
from pgtrace.report.page.ask import ask
from pgtrace.report.page.markup import Markup, join, tag, text
from pgtrace.report.page.section import Section
from pgtrace.report.page.span import Span
from pgtrace.report.page.table import word


def bar(sections: Sequence[Section], *, has_timeline: bool) -> Markup:
    """The bar that stays: where to go, and the theme."""
    links = [("timeline", "Timeline")] if has_timeline else []
    links += [(section.id, section.short) for section in sections if section.content is not None]
    anchors = [tag("a", text(name), href=f"#{id_}") for id_, name in links]
    nav = tag("nav", anchors, aria_label="Sections")
    theme = tag(
        "button", text("Dark"), id="theme", type="button", class_="quiet", title="Change the theme", hidden=True
    )
    skip = tag("a", text("Skip to the report"), href="#main", class_="skip")
    return join([skip, tag("div", tag("div", [tag("strong", text("pgtrace")), nav, theme]), class_="bar")])


def heading(lake: LakeHandle, span: Span) -> Markup:
    """What the page is about: servers, span, zone."""
    where = "" if span.server is None else " where server = $server"
    given = {} if span.server is None else {"server": span.server}
    found = lake.connection.execute(f"select distinct server from source{where} order by server", given).fetchall()
    servers = [str(name) for (name,) in found]
    named = ", ".join(servers[:4]) + (f" and {len(servers) - 4:,} more" if len(servers) > 4 else "")
    title = tag("h1", [text("Why was it slow? "), word(named)] if servers else text("Why was it slow?"))
    zone = f"{span.zone.key} ({span.offset_words()}{' at the beginning' if span.clock_changes else ''})"
    words = f" · {figures.seconds(span.seconds)} · times are {zone}"
    meta = [span.html(span.first_at), text(" – "), span.html(span.last_at), text(words)]
    return join([title, tag("p", meta, class_="meta")])


def title_words(span: Span) -> str:
    """The document's title."""
    server = f" {span.server}" if span.server else ""
    return f"pgtrace{server}: {span.words(span.first_at)[:16]} – {span.words(span.last_at)[:16]}"


def tiles(lake: LakeHandle, span: Span) -> Markup:
    """The figures, each a link to the section that has more of it."""
    rows = ask(lake, span, "totals").to_dicts()
    if not rows:
        return Markup("")
    return tag("div", [_tile(*one) for one in _figures(rows[0])], class_="tiles")


def _figures(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    if row["executions"]:
        found += [
            (
                "queries",
                figures.count(row["executions"]),
                f"executions of {figures.plural(row['queries'], 'query', 'queries')}",
            ),
            ("queries", figures.milliseconds(row["p50_ms"]), "median duration"),
            ("queries", figures.milliseconds(row["p95_ms"]), "95th percentile"),
            ("queries", figures.milliseconds(row["p99_ms"]), "99th percentile"),
            ("queries", figures.milliseconds(row["max_ms"]), "longest execution"),
        ]
    if row["checkpoints"]:
        found.append(("checkpoints", figures.count(row["checkpoints"]), "checkpoints"))
    if row["vacuums"] or row["analyzes"]:
        found.append(
            ("vacuum", figures.count(row["vacuums"]), f"vacuums, {figures.plural(row['analyzes'], 'analyze')}")
        )
    if row["lock_waits"]:
        found.append(
            ("locks", figures.seconds(row["lock_wait_s"] or 0), f"in {figures.plural(row['lock_waits'], 'lock wait')}")
        )
    if row["temp_files"]:
        found.append(
            ("temp", figures.size(row["temp_bytes"]), f"in {figures.plural(row['temp_files'], 'temporary file')}")
        )
    if row["errors"]:
        found.append(("errors", figures.count(row["errors"]), "errors"))
    if row["sessions"]:
        found.append(("sessions", figures.count(row["sessions"]), "sessions"))
    if row["wal_bytes"]:
        found.append(("wal", figures.size(row["wal_bytes"]), "WAL"))
    return found


def _tile(section: str, figure: str, name: str) -> Markup:
    return tag("a", [tag("b", text(figure)), tag("span", text(name))], href=f"#{section}")
