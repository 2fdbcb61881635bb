"""Logs in another language than English (lc_messages): which one it is, and what its levels are called.

The words that every record begins with (levels, DETAIL, STATEMENT …) are translated, so that the records of such a log
are whole. Its messages stay as they are: no typed table reads them.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import polars as pl

from pgtrace.prefix import SEVERITIES

#: in place of a level, what begins the message of a statement's duration
_DURATION = "duration:"
_UNKNOWN = "[unknown]"
#: what stands between a level and the text: some languages put a blank before the colon, some one blank behind it
_WORD_END = r"(?: ?: {1,3})"


@cache
def _languages() -> dict[str, dict[str, str]]:
    """By language: the English word of each of its words."""
    found: dict[str, dict[str, str]] = {}
    for line in (Path(__file__).parent / "translations.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            language, english, word = line.split("\t")
            found.setdefault(language, {}).setdefault(word, english)
    return found


def detect_language(text: str) -> str | None:
    """The language of a log's first lines; None for English, and for one that is not known."""
    seen = [language for language, words in _languages().items() if any(word in text for word in words)]
    found = {language: len(_sign(language).findall(text)) for language in seen}
    best = max(found, key=lambda language: found[language], default=None)
    return best if best is not None and found[best] > 0 else None


@cache
def _sign(language: str) -> re.Pattern[str]:
    """A word of that language where only the server writes it: at the end of a line's head, or of a level's field."""
    words = _languages()[language]
    levels = "|".join(re.escape(word) for word, english in words.items() if english not in (_DURATION, _UNKNOWN))
    durations = "|".join(re.escape(word) for word, english in words.items() if english == _DURATION)
    in_line = rf"(?m)^(?!\t)[^\t\n:]*(?::[^ \n][^\t\n:]*)*?[^\w\t\n:](?:{levels}){_WORD_END}"
    in_field = rf'"error_severity":"(?:{levels})"|,(?:{levels}),[0-9A-Z]{{5}},'
    return re.compile(rf'{in_line}|{in_field}|(?<=[ ,"])(?:{durations}) ?\d+\.\d{{3}} \w')


def english_lines(lines: pl.Series, language: str) -> pl.Series:
    """Lines of a stderr log with the first level of each in English."""
    for pattern, english in _patterns(language):
        lines = lines.str.replace(pattern, "${1}" + english)
    return lines


def english_line(line: str, language: str) -> str:
    """One line, as ``english_lines`` makes it."""
    for pattern, english in _patterns(language):
        line = re.sub(pattern, lambda found, word=english: found[1] + word, line, count=1)  # type: ignore[misc]
    return line


@cache
def _patterns(language: str) -> list[tuple[str, str]]:
    words = _languages()[language]
    # a word is one only where a head ends: nothing before it in the line looks like the end of a head
    head = r"^((?:[^\t:\n]|:[^ \n]|: [^ \n])*?(?:[^\w\t\n]|^))"
    levels = [(word, english) for word, english in words.items() if english not in (_DURATION, _UNKNOWN)]
    patterns = [(f"{head}{re.escape(word)}{_WORD_END}", f"{english}:  ") for word, english in levels]
    unknown = [(word, english) for word, english in words.items() if english == _UNKNOWN]
    return [*((f"^([^\t]*?){re.escape(word)}", english) for word, english in unknown for _ in range(4)), *patterns]


def english_levels(levels: pl.Series) -> pl.Series:
    """Levels as a csvlog or jsonlog has them, in English; what is no level of any language stays."""
    return levels.replace(foreign_levels())


@cache
def foreign_levels() -> dict[str, str]:
    """Levels in all languages but English, with what they are in English; no word is two of them."""
    return {
        word: english for words in _languages().values() for word, english in words.items() if english in SEVERITIES
    }
