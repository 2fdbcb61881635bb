"""Named groups of many patterns read from columns of text, each pattern only where it can fit.

Messages repeat: a thousand lines of a kind are often some dozen texts. So distinct texts are read and joined back. And
most patterns of a type are for what few messages say: one whose plain text is nowhere among the texts is not tried,
which spares the making of it (the engine keeps only a few dozen patterns, and making one costs as much as a hundred
texts).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import polars as pl

#: the plain text that a pattern begins with: rows that do not are not tried
_LITERAL_START = re.compile(r"^\^([A-Za-z][A-Za-z :]{11,})(?![*+?{])")
_NAMED_GROUP = re.compile(r"\(\?P<(\w+)>")
#: rows below which finding the distinct texts costs more than it spares
_FEW = 200
_SAMPLE = 1000
#: share of distinct texts in a sample above which all rows are read
_MOSTLY_DISTINCT = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """A pattern on its way into column ``place``: read from ``source`` where the text begins with ``start``, and where
    the stricter, faster pattern with the same groups (in column ``only_if_null``) found nothing. ``needs`` is a plain
    text without which it cannot fit."""

    place: str
    source: str
    pattern: str
    start: str | None
    only_if_null: str | None
    needs: str | None


def distinct_texts(records: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame | None:
    """The distinct rows of ``columns``, or None where reading every row is as good."""
    if records.height < _FEW:
        return None
    texts = records.select(columns)
    if texts.head(_SAMPLE).n_unique() > _MOSTLY_DISTINCT * min(_SAMPLE, records.height):
        return None
    return texts.unique()


def with_groups(texts: pl.DataFrame, readings: Sequence[Reading]) -> tuple[pl.LazyFrame, list[Reading]]:
    """``texts`` with a struct column for every reading that can fit, and those readings."""
    said = {source: _joined(texts[source]) for source in {reading.source for reading in readings}}
    possible = [
        reading for reading in readings if reading.needs is None or reading.needs.encode() in said[reading.source]
    ]
    places = {reading.place for reading in possible}
    strict = [reading for reading in possible if reading.only_if_null not in places]
    general = [reading for reading in possible if reading.only_if_null in places]
    found = texts.lazy().with_columns_seq(_groups(reading, False) for reading in strict)
    return (found.with_columns_seq(_groups(reading, True) for reading in general) if general else found), possible


def _joined(texts: pl.Series) -> bytes:
    """All texts, as bytes: a plain text is found in them several times as fast as in a str."""
    if texts.null_count() == texts.len():
        return b""
    joined: bytes = texts.str.join("\n").cast(pl.Binary).item()
    return joined


@cache
def _groups(reading: Reading, is_second: bool) -> pl.Expr:
    """The groups of a pattern as a struct; made once, since making it compiles the pattern."""
    text = pl.col(reading.source)
    if reading.start is not None:
        text = pl.when(text.str.starts_with(reading.start)).then(text)
    if is_second:
        assert reading.only_if_null is not None
        text = pl.when(pl.col(reading.only_if_null).struct[0].is_null()).then(text)
    return text.str.extract_groups(_ascii(reading.pattern)).alias(reading.place)


def _ascii(pattern: str) -> str:
    r"""``\d`` and ``\w`` are every digit and letter of Unicode to the engine: slow to use, and slower to make."""
    for escape, letters in ((r"\d", "0-9"), (r"\w", "0-9A-Za-z_")):
        for opening in ("[", "[^"):
            pattern = pattern.replace(opening + escape, opening + letters)
        pattern = pattern.replace(escape, f"[{letters}]")
    return pattern


def named_groups(patterns: Sequence[str]) -> list[str]:
    """Names of the groups of all patterns, each once, in order."""
    return list(dict.fromkeys(name for pattern in patterns for name in _NAMED_GROUP.findall(pattern)))


@cache
def readings_of(message: tuple[str, ...], detail: tuple[str, ...], context: tuple[str, ...]) -> list[Reading]:
    """Readings of the patterns of a record's message, DETAIL and CONTEXT, the first pattern's in place "0"."""
    patterns = {"message": message, "detail": detail, "context": context}
    seen: dict[str, str] = {}
    readings = []
    for number, (source, pattern) in enumerate(
        (source, one) for source, several in patterns.items() for one in several
    ):
        names = " ".join(named_groups([pattern]))
        start = _LITERAL_START.match(pattern) if number else None
        readings.append(
            Reading(
                str(number), source, pattern, start and start[1], seen.get(names) if number else None, needs(pattern)
            )
        )
        seen.setdefault(names, str(number))
    return readings


@cache
def needs(pattern: str) -> str | None:
    """The longest plain text that whatever ``pattern`` fits must hold; None where there is none of three characters."""
    runs = [""]
    _collect(_parser.parse(pattern), runs)
    longest = max(runs, key=len)
    return longest if len(longest) >= 3 else None


def _collect(items: Any, runs: list[str]) -> None:
    """Add the plain texts of parsed items that all have to be there, one behind the other."""
    for code, value in items:
        if code is codes.LITERAL:
            runs[-1] += chr(value)
        elif code is codes.SUBPATTERN and not value[1] & re.IGNORECASE:
            _collect(value[3], runs)
        elif code is codes.AT:
            continue
        else:
            runs.append("")
            if code in (codes.MAX_REPEAT, codes.MIN_REPEAT) and value[0] > 0:
                _collect(value[2], runs)
                runs.append("")
