"""Statement texts without their constants, whole columns at a time, and the fingerprint of each shape.

libpg_query takes some 20 µs to fingerprint a text and 100 µs to parse it, a regular expression 0.3 µs to take the
constants out. So constants are masked first, and libpg_query is asked once about each masked text.

Limitations: standard_conforming_strings is taken to be on (a backslash ends no plain string); block comments nest one
level deep; a dollar quote with a tag that is not among the common ones must not hold another ``$tag$``. Where one of
these misleads the mask, the text still has one fingerprint, but a constant or a piece of body may tell two apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from threading import Lock

import polars as pl
import postgast

from pgtrace.schema import QUERY, polars_schema
from pgtrace.sqltree import Shape, read_tree

#: stands for a constant in a masked text; a character that no SQL holds
MARK = "\x1a"

_STRING = r"'[^']*(?:''[^']*)*'"
_ESCAPED = r"[eE]'(?:[^'\\]|\\.|'')*'"
_UNICODE = rf"[uU]&{_STRING}(?:\s*(?i:uescape)\s*'[^']*')?"
_WHOLE = r"[0-9][0-9_]*"  # underscores: version 16
_NUMBER = rf"0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|{_WHOLE}(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?"
#: \b of ASCII only, as the Unicode one leaves the fast automaton at the first letter beyond ASCII
_CONSTANT = (
    rf"(?-u:\b)[bBxXnN]{_STRING}|(?-u:\b)(?:{_UNICODE}|{_ESCAPED})|{_STRING}"
    rf"|(?-u:\b)(?:{_NUMBER})|\.[0-9]+(?:[eE][+-]?[0-9]+)?|\$[0-9]+"
)
_FAST = rf"(?s){_CONSTANT}"

#: Rust's regular expressions have no backreference: tags that bodies are commonly quoted with, then any tag
_TAGS = (
    "",
    "body",
    "BODY",
    "function",
    "FUNCTION",
    "func",
    "fn",
    "_",
    "do",
    "DO",
    "proc",
    "procedure",
    "code",
    "outer",
)
_DOLLAR = "|".join(rf"\${tag}\$.*?\${tag}\$" for tag in _TAGS)
_ANY_TAG = r"\$[^\W\d]\w*\$(?:[^$]|\$+[^$\pL_])*\$+[^\W\d]\w*\$"
_INNER_COMMENT = r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/"
_COMMENT = rf"(--)[^\n]*|(/\*)(?:[^*/]|\*+[^*/]|/+[^*/]|/*{_INNER_COMMENT})*/*\*+/"
#: kept: quoted identifiers, and words with digits or dollars inside
_KEPT = r'("[^"]*"|[^\W\d]\w*[\d$][\w$]*)'
#: what a cut leaves: the opening quote is kept, so that the text is not taken for a whole one
_CUT_OFF = r"(['\"]|\$(?:[^\W\d]\w*)?\$).*\z"
_CAREFUL = rf"(?s){_KEPT}|{_COMMENT}|{_DOLLAR}|{_ANY_TAG}|{_CONSTANT}|{_CUT_OFF}"

#: a masked text in which the fast pattern may have mistaken a comment, a quoted or dollar-quoted text or a word
_DOUBTFUL = rf"""--|/\*|[$']|[\w"]{MARK}"""
_QUOTES_ARE_WHOLE = rf'^[^"]*(?:"[^"{MARK}]*"[^"]*)*$'

_CAST = r'(?:::[\w."]+(?: varying| precision)?(?:\(\x1a(?:,\s*\x1a)*\))?(?:\[\])*)?'
_ITEM = rf"(?:{MARK}{_CAST}|(?i:default|current_\w+)|[\w.]+\(\s*(?:{MARK}(?:\s*,\s*{MARK})*)?\s*\))"
_ROW = rf"\(\s*{_ITEM}(?:\s*,\s*{_ITEM})*\s*\)"
_MORE = " /*, ... */"  # as pg_stat_statements writes it from version 18 on
_BLANK = r"[ \t\n\r\f\v]"  # those of PostgreSQL's scanner; others are letters to it
_CONSTANT_WORD = (r"([(,\[]\s*)(?i:null|true|false)(\s*[\]),])", f"${{1}}{MARK}${{2}}")
#: (pattern, replacement) on masked texts, in this order
_COLLAPSE = (
    (rf"{MARK}{_BLANK}*\n{_BLANK}*{MARK}", MARK),  # 'a' 'b' on two lines are one string
    (rf'([\w"]){MARK}', f"${{1}} {MARK}"),
    (rf"{MARK}(\w)", f"{MARK} ${{1}}"),
    (rf"((?:[=<>+*/%(,\[|-]|\b(?i:and|or|not|then|else|when|limit|offset|select))\s*)[-+]\s*{MARK}", f"${{1}}{MARK}"),
    _CONSTANT_WORD,
    _CONSTANT_WORD,  # again, for the second of two neighbours
    (
        rf"(\b(?i:in)\s*\(|\b(?i:array)\s*\[)\s*({MARK}{_CAST})(?:\s*,\s*{MARK}{_CAST})+\s*([)\]])",
        f"${{1}}${{2}}{_MORE}${{3}}",
    ),
    (rf"(\b(?i:values)\s*{_ROW})(?:\s*,\s*{_ROW})+", f"${{1}}{_MORE}"),
)
#: blanks inside a quoted identifier are part of it, so such a text keeps all of its own
_BLANKS_MATTER = r'"[^"]*(?:\s\s|[^\S ])[^"]*"'


#: above this share of distinct texts the join back costs more than masking every text
_MOSTLY_DISTINCT = 0.5
#: constants that the grammar may ask to be strings before the text counts as refused
_ATTEMPTS = 64


def mask(texts: pl.Series) -> pl.Series:
    """SQL texts with ``MARK`` in place of every constant and parameter, without comments, lists cut to one element.

    Null stays null; nothing raises. Length and notation of a constant leave no trace, nor does the length of a
    list of two elements or more (``IN``, ``ARRAY``, rows of ``VALUES``), nor a ``;`` at the end.
    """
    masked, distinct = mask_distinct(texts)
    return masked.replace_strict(distinct["masked"], distinct["text"], return_dtype=pl.String())


def mask_distinct(texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Constants masked row by row, and for each distinct ``masked`` value of these its final ``text``.

    Lists are cut and blanks tidied on the distinct values only, of which there are few.
    """
    texts = texts.cast(pl.String())
    if texts.str.contains(MARK, literal=True).any():
        texts = texts.str.replace_all(MARK, " ", literal=True)
    masked = texts.str.replace_all(_FAST, MARK)
    distinct = masked.drop_nulls().unique()
    doubtful = distinct.filter(distinct.str.contains(_DOUBTFUL) | ~distinct.str.contains(_QUOTES_ARE_WHOLE))
    if doubtful.len() > 0:
        masked = _again(texts, masked, doubtful)
        distinct = masked.drop_nulls().unique()
    return masked, pl.DataFrame({"masked": distinct, "text": _collapsed(distinct)})


def _again(texts: pl.Series, masked: pl.Series, doubtful: pl.Series) -> pl.Series:
    """``masked`` with the rows whose masked text is in ``doubtful`` masked by the pattern that knows every token."""
    careful = (
        pl.when(pl.col("masked").is_in(doubtful.implode()))
        .then("text")
        .str.replace_all(_CAREFUL, f"${{1}}${{2}}${{3}}${{4}}{MARK}")
        # every match has left a mark: comments become a blank, what was kept loses its mark again
        .str.replace_all(rf"(?:--|/\*){MARK}", " ")
        .str.replace_all(f'"{MARK}', '"', literal=True)
        .str.replace_all(rf"([^\W\d]\w*[\d$][\w$]*){MARK}", "${1}")
    )
    frame = pl.DataFrame({"text": texts, "masked": masked})
    return frame.select(pl.coalesce(careful, "masked").alias("masked"))["masked"]


def _collapsed(masked: pl.Series) -> pl.Series:
    for pattern, replacement in _COLLAPSE:
        masked = masked.str.replace_all(pattern, replacement)
    tidy = pl.when(pl.col("text").str.contains(_BLANKS_MATTER)).then("text")
    tidy = tidy.otherwise(pl.col("text").str.replace_all(rf"{_BLANK}+", " "))
    return pl.DataFrame({"text": masked}).select(tidy.str.strip_chars(" \t\n\r\f\v;").alias("text"))["text"]


@dataclass(frozen=True, slots=True, order=True)
class _Query:
    """What is known of a masked text; ordered, so that the least of several is the same whatever came first."""

    query_text: str
    fingerprint: str
    is_parsed: bool
    shape: Shape = field(compare=False)


class Fingerprinter:
    """Fingerprints of statement texts, remembered by masked text; one per process, shared by its threads.

    A fingerprint is a function of the masked text alone: neither the order of the texts, nor where a chunk ends,
    nor what was seen before changes it. ``capacity`` bounds the masked texts that are remembered; the oldest half is
    forgotten when it is reached.
    """

    def __init__(self, capacity: int = 200_000) -> None:
        self._capacity = capacity
        self._known: dict[str, _Query] = {}
        self._lock = Lock()

    def fingerprint(self, texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
        """The fingerprint of every text (16 hexadecimal digits, null for null), and the shapes that occur.

        The frame has ``fingerprint, query_text, verb, relations_read, relations_written, is_parsed``, one row for
        each distinct fingerprint, sorted. ``query_text`` has ``$n`` for constants and never a literal; of several
        masked texts with one fingerprint it is the least. Where PostgreSQL's grammar (version 17) does not accept the
        text, as when it was cut off, ``is_parsed`` is false, the fingerprint a hash of the masked text, the rest null.
        """
        texts = texts.cast(pl.String())
        if texts.approx_n_unique() > texts.len() * _MOSTLY_DISTINCT:
            return self._each(texts)
        distinct = texts.drop_nulls().unique()
        fingerprints, shapes = self._each(distinct)
        return _looked_up(texts, distinct, fingerprints), shapes

    def _each(self, texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
        masked, distinct = mask_distinct(texts)
        finals = distinct["text"].unique()
        with self._lock:
            queries = {text: self._known[text] for text in finals if text in self._known}
        new = {text: _ask(text) for text in finals if text not in queries}
        refused = [text for text, query in new.items() if query is None]
        raws = _one_raw_text(texts, masked, distinct, refused) if refused else {}
        queries |= {text: query or _refused(text, raws[text]) for text, query in new.items()}
        self._remember({text: queries[text] for text in new})
        fingerprints = pl.Series([queries[text].fingerprint for text in distinct["text"]], dtype=pl.String())
        return _looked_up(masked, distinct["masked"], fingerprints), _frame(queries.values())

    def _remember(self, queries: dict[str, _Query]) -> None:
        with self._lock:
            self._known |= queries
            if len(self._known) > self._capacity:
                self._known = dict(list(self._known.items())[-self._capacity // 2 :])


def _looked_up(values: pl.Series, old: pl.Series, new: pl.Series) -> pl.Series:
    if old.len() == 0:
        return pl.Series([None], dtype=pl.String()).new_from_index(0, values.len())
    return values.replace_strict(old, new, default=None, return_dtype=pl.String()).alias("fingerprint")


def _one_raw_text(texts: pl.Series, masked: pl.Series, distinct: pl.DataFrame, wanted: list[str]) -> dict[str, str]:
    """The least raw text of each of the ``wanted`` masked texts."""
    rows = pl.DataFrame({"raw": texts, "masked": masked}).join(
        distinct.filter(pl.col("text").is_in(wanted)), on="masked"
    )
    return dict(rows.group_by("text").agg(pl.col("raw").min()).iter_rows())


def _ask(text: str) -> _Query | None:
    """What libpg_query says of a masked text; None where it does not accept it."""
    pieces = text.split(MARK)
    filling = ["1"] * (len(pieces) - 1)
    for _ in range(_ATTEMPTS):
        filled = _joined(pieces, filling)
        try:
            fingerprint = _libpg_query_fingerprint(filled)
        except postgast.PgQueryError as error:
            place = _mark_at(pieces, filling, error.cursorpos - 1)
            if place is None:
                return None
            filling[place] = "''"  # the grammar wants a string there: PASSWORD, COMMENT, interval
        else:
            return _Query(_numbered(pieces), fingerprint, True, read_tree(filled))
    return None


def _libpg_query_fingerprint(text: str) -> str:
    if "\0" in text:  # would end the text for C
        raise postgast.PgQueryError("a NUL in the text")
    hexadecimal: str = postgast.fingerprint(text).hex
    return hexadecimal


def _mark_at(pieces: list[str], filling: list[str], position: int) -> int | None:
    """Which mark, filled with a number, begins at character ``position``."""
    at = 0
    for number, (piece, constant) in enumerate(zip(pieces, filling, strict=False)):
        at += len(piece)
        if at == position and constant == "1":
            return number
        at += len(constant)
    return None


def _joined(pieces: list[str], between: Iterable[str]) -> str:
    return "".join(piece + constant for piece, constant in zip_longest(pieces, between, fillvalue=""))


def _numbered(pieces: list[str]) -> str:
    return _joined(pieces, (f"${number}" for number in range(1, len(pieces))))


def _refused(text: str, raw: str) -> _Query:
    """A text that is not accepted without its constants: perhaps it is with them, if the mask was misled."""
    fingerprint = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    try:
        _libpg_query_fingerprint(raw)
        shape, is_parsed = read_tree(raw), True
    except postgast.PgQueryError:
        shape, is_parsed = Shape(None, None, None), False
    return _Query(_numbered(text.split(MARK)), fingerprint, is_parsed, shape)


def _frame(queries: Iterable[_Query]) -> pl.DataFrame:
    """One row for each fingerprint, of the least query."""
    least: dict[str, _Query] = {}
    for query in queries:
        if query.fingerprint not in least or query < least[query.fingerprint]:
            least[query.fingerprint] = query
    names = ("fingerprint", "query_text", "verb", "relations_read", "relations_written", "is_parsed")
    rows = [
        (q.fingerprint, q.query_text, q.shape.verb, q.shape.relations_read, q.shape.relations_written, q.is_parsed)
        for q in sorted(least.values(), key=lambda query: query.fingerprint)
    ]
    schema = polars_schema({name: QUERY.columns[name] for name in names})
    return pl.DataFrame(rows, schema=schema, orient="row")
