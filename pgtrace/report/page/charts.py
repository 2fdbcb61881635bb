"""The timeline as a Vega-Lite specification, made with Altair.

Fields have fixed names and colours are CSS variables (the SVG renderer passes them on), so that nothing of the log is
part of the specification, and a change of theme needs no drawing. Data comes from named datasets. What a tooltip says
is not Vega's: page.js shows the texts of a row's ``tip``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, log10
from typing import Any

import altair as alt

from pgtrace.report.page.span import Span
from pgtrace.report.page.timeline import LANES, Rows

#: a chart; Altair says of layers that they may be facets too
_View = Any
LEFT = 86  # room for the labels of every vertical axis, so that the charts stand below each other
#: named, since Vega measures labels to know which overlap
_FONT = "system-ui, sans-serif"
_LATENCIES = ("p50", "p95", "p99")
_LANE_HEIGHT = 21
#: marks react to the pointer if they have a tooltip; page.js shows its own instead of this text
_HAS_TIP = "."
_DURATION_LABEL = (
    "datum.value >= 60000 ? format(datum.value / 60000, '~g') + ' min'"
    " : datum.value >= 1000 ? format(datum.value / 1000, '~g') + ' s' : format(datum.value, '~g') + ' ms'"
)
#: 24 hours, and the date where a day begins
_TIME_LABEL = (
    "utcmilliseconds(datum.value) ? utcFormat(datum.value, '%S.%L')"
    " : utcseconds(datum.value) ? utcFormat(datum.value, '%H:%M:%S')"
    " : utchours(datum.value) || utcminutes(datum.value) ? utcFormat(datum.value, '%H:%M')"
    " : utcFormat(datum.value, '%d %b')"
)


def timeline_spec(span: Span, steps: Rows, lanes: Rows, wal: Rows) -> dict[str, Any]:
    """The charts, one below the other on one axis of time, and a strip to choose a part of it; for page.js to size.

    A view that has no data is left out. The strip's selection is the parameter ``zoom``.
    """
    domain = [span.chart_ms(span.first_at), max(span.chart_ms(span.last_at), span.chart_ms(span.first_at) + 1)]
    parts: list[Callable[[alt.X], _View]] = [
        *([lambda x: _latency(x, steps), _load] if steps else []),
        *([_wal] if wal else []),
        *([lambda x: _lanes(x, lanes)] if lanes else []),
    ]
    if not parts:
        return {}
    views = [part(_zoomed_x(domain, labels=part is parts[-1])) for part in parts]
    zoomed = alt.vconcat(*views, spacing=14, bounds="flush")
    stacked = alt.vconcat(zoomed, _strip(domain, "steps" if steps else "lanes"), spacing=10, bounds="full")
    spec: dict[str, Any] = stacked.configure(**_config()).to_dict()
    return spec


def _zoomed_x(domain: list[int], *, labels: bool) -> alt.X:
    scale = alt.Scale(type="utc", domain=alt.ExprRef(f"zoom.t || {domain}"), nice=False)
    return alt.X("t:T", scale=scale, axis=_time_axis(labels=labels), title=None)


def _latency(x: alt.X, steps: Rows) -> _View:
    values = [row[name] for row in steps for name in _LATENCIES if row[name] is not None]
    low, high = min(values), max(values)
    # tens where the durations differ much; a linear axis would show the slowest only
    if high > 30 * low:
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        every = 1 if len(powers) <= 7 else 2
        ticks: Any = [10.0**power for power in powers][::every]
        scale = alt.Scale(type="log", domain=[10.0 ** powers[0], 10.0 ** powers[-1]], nice=False)
    else:
        ticks, scale = alt.Undefined, alt.Scale(domainMin=0, nice=True)
    axis = alt.Axis(labelExpr=_DURATION_LABEL, values=ticks, tickCount=4, title="duration", **_y_axis())
    base = alt.Chart(alt.NamedData("steps"))
    middle = x.copy()
    middle.shorthand = "m:T"
    layers = []
    for name in _LATENCIES:
        y = alt.Y(f"{name}:Q", scale=scale, axis=axis)
        colour = f"var(--{name})"
        line = base.mark_line(clip=True, invalid="break-paths-show-path-domains", color=colour, strokeWidth=1.4)
        dots = base.transform_filter("datum.alone").mark_point(clip=True, filled=True, size=16, opacity=1, color=colour)
        layers += [line.encode(x=middle, y=y), dots.encode(x=middle, y=y)]
    return alt.layer(*layers, _hover(base, x), height=210, view=_frame())


def _load(x: alt.X) -> _View:
    base = alt.Chart(alt.NamedData("steps"))
    axis = alt.Axis(tickCount=3, title="at work", format="~g", **_y_axis())
    bars = base.mark_rect(clip=True, color="var(--load)").encode(
        x=x, x2="u:T", y=alt.Y("busy:Q", axis=axis, scale=alt.Scale(domainMin=0)), y2=alt.datum(0)
    )
    return alt.layer(bars, _hover(base, x), height=70, view=_frame())


def _wal(x: alt.X) -> _View:
    base = alt.Chart(alt.NamedData("wal"))
    axis = alt.Axis(tickCount=3, title="WAL MB/s", format="~g", **_y_axis())
    scale = alt.Scale(domainMin=0)
    whole = base.mark_rect(clip=True, color="var(--wal)").encode(
        x=x, x2="u:T", y=alt.Y("wal:Q", axis=axis, scale=scale), y2=alt.datum(0)
    )
    images = base.mark_rect(clip=True, color="var(--fpi)").encode(
        x=x, x2="u:T", y=alt.Y("fpi:Q", axis=axis, scale=scale), y2=alt.datum(0)
    )
    return alt.layer(whole, images, _hover(base, x), height=56, view=_frame())


def _lanes(x: alt.X, lanes: Rows) -> _View:
    shown = [name for name in LANES.values() if any(row["lane"] == name for row in lanes)]
    colours = [f"var(--lane-{list(LANES.values()).index(name)})" for name in shown]
    axis = alt.Axis(title=None, ticks=False, grid=False, **_y_axis())
    y = alt.Y("lane:N", sort=shown, scale=alt.Scale(domain=shown, paddingInner=0.25, paddingOuter=0.15), axis=axis)
    colour = alt.Color("lane:N", scale=alt.Scale(domain=shown, range=colours), legend=None)
    # the outline keeps what is shorter than a pixel in sight
    bars = alt.Chart(alt.NamedData("lanes")).mark_bar(
        clip=True, tooltip=_HAS_TIP, strokeWidth=1, fillOpacity=0.55, cornerRadius=1
    )
    stroke = alt.Stroke("lane:N", scale=alt.Scale(domain=shown, range=colours), legend=None)
    encoded = bars.encode(x=x, x2="u:T", y=y, color=colour, stroke=stroke)
    return alt.layer(encoded, height=_LANE_HEIGHT * len(shown), view=_frame())


def _strip(domain: list[int], data: str) -> _View:
    zoom = alt.selection_interval(
        name="zoom",
        encodings=["x"],
        mark=alt.BrushConfig(fill="var(--accent)", fillOpacity=0.16, stroke="var(--accent)", strokeOpacity=0.9),
    )
    x = alt.X(
        "t:T",
        scale=alt.Scale(type="utc", domain=alt.ExprRef(str(domain)), nice=False),
        axis=_time_axis(labels=True),
        title=None,
    )
    base = alt.Chart(alt.NamedData(data))
    if data == "steps":
        y = alt.Y("busy:Q", axis=alt.Axis(labels=False, ticks=False, grid=False, title=None, **_y_axis()))
        chart = base.mark_rect(clip=True, color="var(--quiet)").encode(x=x, x2="u:T", y=y, y2=alt.datum(0))
    else:
        chart = base.mark_tick(color="var(--quiet)", height=20).encode(x=x)
    return alt.layer(chart.add_params(zoom), height=34, view=_frame())


def _hover(base: alt.Chart, x: alt.X) -> _View:
    """An unseen column for each step, so that the pointer need not meet a line."""
    return base.mark_rect(clip=True, color="transparent", tooltip=_HAS_TIP).encode(x=x, x2="u:T")


def _time_axis(*, labels: bool) -> alt.Axis:
    return alt.Axis(
        labels=labels,
        ticks=labels,
        domain=labels,
        grid=True,
        tickCount=8,
        labelExpr=_TIME_LABEL,
        labelOverlap="greedy",
        labelSeparation=8,
        labelFlush=True,
    )


def _y_axis() -> dict[str, Any]:
    return {
        "minExtent": LEFT,
        "maxExtent": LEFT,
        "labelLimit": LEFT - 8,
        "labelPadding": 6,
        "labelOverlap": False,
        "domain": False,
    }


def _frame() -> alt.ViewBackground:
    return alt.ViewBackground(stroke="var(--line)", fill="transparent")


def _config() -> dict[str, Any]:
    text: dict[str, Any] = {
        "labelColor": "var(--dim)",
        "titleColor": "var(--dim)",
        "labelFont": _FONT,
        "titleFont": _FONT,
    }
    rest: dict[str, Any] = {"gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)"}
    axis = alt.AxisConfig(
        labelFontSize=11, titleFontSize=11, titleFontWeight="normal", titleAnchor="end", **text, **rest
    )
    return {"aria": False, "axis": axis, "background": "transparent", "padding": 0}
