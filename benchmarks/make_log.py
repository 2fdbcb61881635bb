"""A log of a chosen size from a real one: repeated, each copy later than the last and with other constants in its SQL.

python -m benchmarks.make_log sample_logs/pg15-mixed/postgresql.log 1GB out.log
"""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from pgtrace.units import size_parse

_SQL = re.compile(rb"(?:statement|execute [^:\n]*|bind [^:\n]*|parse [^:\n]*|STATEMENT): +([^\n]*(?:\n\t[^\n]*)*)")
_LONG_NUMBER = re.compile(rb"\d{3,}")
_MINUTE = re.compile(rb"(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d):")


def make_log(base: Path, size: int, out: Path) -> int:
    """Write at least ``size`` bytes to ``out``; returns how many. ``base`` begins its lines with a time (%m or %t)."""
    text = base.read_bytes()
    digits = np.array(
        [
            at
            for sql in _SQL.finditer(text)
            for number in _LONG_NUMBER.finditer(text, *sql.span(1))
            for at in range(*number.span())
        ]
    )
    minutes = sorted(set(_MINUTE.findall(text)))
    letters = np.frombuffer(text, dtype=np.uint8)
    random = np.random.default_rng(15)
    written = 0
    with out.open("wb") as file:
        copy = 0
        while written < size:
            varied = letters.copy()
            varied[digits] = (varied[digits] - 48 + random.integers(0, 10, digits.size, dtype=np.uint8)) % 10 + 48
            written += file.write(_later(varied.tobytes(), minutes, copy))
            copy += 1
    return written


def _later(text: bytes, minutes: list[bytes], by: int) -> bytes:
    """Every line's time moved by that many spans of the whole log (its minutes)."""
    span = timedelta(minutes=len(minutes) * by)
    for minute in reversed(minutes):  # from the last, so that no minute is moved twice
        moved = (datetime.strptime(minute.decode(), "%Y-%m-%d %H:%M") + span).strftime("%Y-%m-%d %H:%M").encode()
        text = text.replace(b"\n" + minute + b":", b"\n" + moved + b":")
        if text.startswith(minute):
            text = moved + text[len(minute) :]
    return text


if __name__ == "__main__":
    print(make_log(Path(sys.argv[1]), size_parse(sys.argv[2]), Path(sys.argv[3])), "bytes")
