"""The timeline as a part of the page: its charts, what the colours mean, and the buttons that zoom."""

from __future__ import annotations

from typing import Any

from pgtrace.report.page.charts import LEFT, timeline_spec
from pgtrace.report.page.markup import Markup, paragraph, tag, text
from pgtrace.report.page.span import Span
from pgtrace.report.page.timeline import STEPS, Rows

_ZOOM = {"in": "Zoom in", "out": "Zoom out", "earlier": "Earlier", "later": "Later", "all": "All"}
_STEP_KEYS = [("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile")]


def timeline_part(span: Span, datasets: dict[str, Rows]) -> tuple[dict[str, Any], Markup]:
    """The specification for page.js, and the section that it is drawn into; both empty where there is nothing."""
    spec = timeline_spec(span, datasets["steps"], datasets["lanes"], datasets["wal"])
    if not spec:
        return {}, Markup("")
    content = [
        tag("div", [tag("h2", text("Timeline"), id="timeline-title"), _tools()], class_="beside"),
        paragraph(_note(span, datasets)),
        tag("div", _keys(datasets), class_="legend"),
        tag(
            "div",
            id="chart",
            role="img",
            aria_label="Latency, load and background events over time; the tables below have the figures",
            data_left=LEFT,
            data_from=span.chart_ms(span.first_at),
            data_to=max(span.chart_ms(span.last_at), span.chart_ms(span.first_at) + 1),
        ),
        tag("noscript", paragraph("The timeline is drawn by JavaScript; everything else on the page needs none.")),
    ]
    return spec, tag("section", content, id="timeline", class_="card", aria_labelledby="timeline-title")


def _note(span: Span, datasets: dict[str, Rows]) -> str:
    step = _step_words(span.step_s(STEPS))
    words = [f"Steps of {step}"]
    if datasets["steps"]:
        words.append("durations of the executions that started in each, and how many sessions were at work in it")
    note = ": ".join(words) + f". Times are {span.zone.key}, {span.offset_words()}"
    note += " throughout (the clock changes within the span)." if span.clock_changes else "."
    return note + " Drag on the lowest strip to zoom all of it."


def _step_words(seconds: int) -> str:
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % length == 0:
            number = seconds // length
            return f"{number} {name}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"


def _keys(datasets: dict[str, Rows]) -> list[Markup]:
    keys = []
    if datasets["steps"]:
        keys += [_key(class_, name) for class_, name in _STEP_KEYS]
        keys.append(_key("load block", "sessions at work"))
    if datasets["wal"]:
        keys += [_key("wal block", "WAL"), _key("fpi block", "of it full page images")]
    return keys


def _key(class_: str, name: str) -> Markup:
    return tag("span", [tag("i", class_=class_), text(name)])


def _tools() -> Markup:
    buttons = [tag("button", text(name), type="button", class_="quiet", data_zoom=move) for move, name in _ZOOM.items()]
    return tag("span", [tag("span", text("whole span"), id="shown", aria_live="polite"), *buttons], class_="tools")
