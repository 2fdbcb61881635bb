"""Numbers as people read them."""

from __future__ import annotations

from pgtrace.units import size_text

#: what stands for null: the server did not say
NOTHING = "–"


def count(value: float) -> str:
    """``12,345``."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Three digits that matter: ``0.042``, ``4.2``, ``1,234``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(value: float) -> str:
    """A duration in the unit that suits it: ``0.19 ms``, ``61 ms``, ``2.19 s``, ``4 min 10 s``, ``3 h 5 min``."""
    if abs(value) < 999.5:
        return f"{number(value)} ms"
    seconds = value / 1000
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return _two(seconds, "min", 60, "s")
    if seconds < 172_800:
        return _two(seconds / 60, "h", 60, "min")
    return _two(seconds / 3600, "d", 24, "h")


def seconds(value: float) -> str:
    """The same of seconds."""
    return milliseconds(value * 1000)


def percent(value: float) -> str:
    """``12.3 %``."""
    return f"{value:.0f} %" if value >= 99.95 or value == 0 else f"{value:.1f} %"


def times(value: float) -> str:
    """``×1.8``."""
    return f"×{value:,.0f}" if value >= 100 else f"×{value:.3g}"


def size(value: float) -> str:
    """``3.4 MB``, of 1024."""
    return size_text(value)


def plural(value: int, one: str, several: str | None = None) -> str:
    """``1 vacuum``, ``1,234 vacuums``."""
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def _two(value: float, large: str, of: int, small: str) -> str:
    whole, rest = divmod(round(value), of)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"
