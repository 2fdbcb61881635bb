"""How often executions are slow before and after events begin, as a small chart beside the cause.

An effect begins with its events; one that is there before them is not theirs.
"""

from __future__ import annotations

import polars as pl

from pgtrace.report.page import figures
from pgtrace.report.page.markup import Markup, tag, text

WIDTH, HEIGHT = 190, 58
_TOP, _BOTTOM = 4, 14


def lag_chart(lags: pl.DataFrame, server: str, kind: str, subject: str | None) -> Markup:
    """Bars over seconds from the beginning; nothing where the profile is not known."""
    same_subject = pl.col("subject").eq_missing(pl.lit(subject, pl.String))
    rows = lags.filter(pl.col("server") == server, pl.col("kind") == kind, same_subject).sort("from_s")
    rows = rows.filter(pl.col("slow_ratio").is_finite())
    if rows.height < 3 or not (largest := float(rows["slow_ratio"].max() or 0.0)):  # type: ignore[arg-type]
        return Markup("")
    first, last = float(rows["from_s"][0]), float(rows["to_s"][-1])
    top = max(largest, 1.5)

    def x(seconds: float) -> float:
        return (seconds - first) / (last - first) * WIDTH

    def y(ratio: float) -> float:
        return HEIGHT - _BOTTOM - ratio / top * (HEIGHT - _TOP - _BOTTOM)

    bars = "".join(
        f"M{x(begin):.1f} {y(0):.1f}V{y(ratio):.1f}H{x(end) - 0.6:.1f}V{y(0):.1f}Z"
        for begin, end, ratio in rows.select("from_s", "to_s", "slow_ratio").iter_rows()
    )
    peak = rows.row(int(rows["slow_ratio"].arg_max() or 0), named=True)
    words = (
        f"Slow executions by seconds from the beginning of events: most, {figures.times(largest)} as many as usual, "
        f"from {peak['from_s']:.0f} to {peak['to_s']:.0f} s"
    )
    begins, usual = f"M{x(0):.1f} 0V{HEIGHT - _BOTTOM}", f"M0 {y(1):.1f}H{WIDTH}"
    parts = [
        tag("title", text(words)),
        tag("path", class_="bars", d=bars),
        tag("path", class_="usual", d=usual),
        tag("path", class_="begins", d=begins),
        _label(0, "start", f"{first:.0f} s"),
        _label(x(0), "middle", "begins"),
        _label(WIDTH, "end", f"+{last:.0f} s"),
    ]
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", parts, class_="lag", viewBox=box, width=WIDTH, height=HEIGHT, role="img", aria_label=words)


def _label(x: float, anchor: str, words: str) -> Markup:
    return tag("text", text(words), x=f"{x:.1f}", y=HEIGHT - 3, text_anchor=anchor)
