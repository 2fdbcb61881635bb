"""Small lines within a table: one query's 95th percentile over the span."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pgtrace.report.page.markup import Markup, tag

WIDTH, HEIGHT = 120, 26
_MARGIN = 2.5


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """A line over steps of equal length, from 0 to the largest; a gap where there is none. ``label`` says it in words.

    A value between two gaps is a dot; the largest is marked.
    """
    largest = max((value for value in values if value is not None), default=0.0)
    if largest <= 0:
        return Markup("")
    points = [
        None if value is None else (_x(at, len(values)), HEIGHT - _MARGIN - value / largest * (HEIGHT - 2 * _MARGIN))
        for at, value in enumerate(values)
    ]
    pieces = [
        [point for point in run if point is not None]
        for is_there, run in groupby(points, lambda point: point is not None)
        if is_there
    ]
    path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in pieces if len(run) > 1)
    dots = "".join(f"M{run[0][0]:.1f} {run[0][1]:.1f}h.01" for run in pieces if len(run) == 1)
    peak = min((point for point in points if point is not None), key=lambda point: point[1])
    parts = [tag("path", class_="line", d=path)] if path else []
    if dots:
        parts.append(tag("path", class_="dots", d=dots))
    parts.append(tag("circle", class_="peak", cx=f"{peak[0]:.1f}", cy=f"{peak[1]:.1f}", r="2"))
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", parts, class_="spark", viewBox=box, width=WIDTH, height=HEIGHT, role="img", aria_label=label)


def _x(at: int, count: int) -> float:
    return _MARGIN + (at + 0.5) / count * (WIDTH - 2 * _MARGIN)
