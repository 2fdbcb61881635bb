"""Pages of text for people: a console whose letters fit the terminal, and times, numbers and SQL as they are shown."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: where output goes to a file
_WIDTH = 120
#: letters that an old terminal has not, and what stands for them
_ASCII = str.maketrans(dict(zip("▁▂▃▄▅▆▇█\u00d7·─│└\u2013≥", "..::-=+#x.=|`->", strict=True)) | {"…": "..."})
#: what a terminal would obey: an escape sequence in a statement is shown as text
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


@contextmanager
def page() -> Iterator[Console]:
    """A console; what is printed on it goes to stdout in the end, in ASCII where stdout cannot have the letters."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    text = io.StringIO()
    width = None if is_terminal else _WIDTH
    yield Console(file=text, force_terminal=is_terminal, width=width, highlight=False, emoji=False, markup=False)
    written = text.getvalue()
    encoding = sys.stdout.encoding or "ascii"
    try:
        written.encode(encoding)
    except UnicodeEncodeError:
        written = written.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    # rich pads tables with blanks, which are of no use in a file
    sys.stdout.write(written if is_terminal else re.sub(r" +$", "", written, flags=re.MULTILINE))


@contextmanager
def status(first: str) -> Iterator[Callable[[str], None] | None]:
    """On a terminal, a line on stderr that says what is being done; gives what to call with it, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as shown:
        yield lambda doing: shown.update(doing)


def moment(time: datetime | None, *, day: bool = True) -> str:
    """``2026-11-24 14:05:07``, or the time of day alone."""
    if time is None:
        return ""
    return f"{time:%Y-%m-%d %H:%M:%S}" if day else f"{time:%H:%M:%S}"


def moments(times: list[datetime]) -> str:
    """Several, in order, each day and second once: ``2026-11-24 14:05:07, 14:09:12``."""
    in_order = sorted({time.replace(microsecond=0) for time in times})
    shown = []
    for place, time in enumerate(in_order):
        shown.append(moment(time, day=place == 0 or time.date() != in_order[place - 1].date()))
    return ", ".join(shown)


def one_line(text: str | None, longest: int = 400) -> str:
    """Text of a log as one line that a terminal shows and does not obey."""
    clean = " ".join(_CONTROL.sub(" ", text or "").split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def seconds(value: float | None) -> str:
    """``0.042``, ``3.1``, ``266``, ``12,345``: as many digits as matter."""
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 0.1 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def times(value: float | None) -> str:
    """How many times: 1.7, 23 or 42,212 after the sign."""
    return "" if value is None else f"\u00d7{value:.1f}" if value < 10 else f"\u00d7{value:,.0f}"


def share(value: float | None) -> str:
    """``25 %``."""
    if value is None:
        return ""
    if 0 < value < 0.1:
        return "<0.1 %"
    return f"{value:.0f} %" if abs(value) >= 1 or value == 0 else f"{value:.1f} %"


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """``1 event``, ``1,234 events``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
