"""Fingerprints of statement texts, for whole columns.

libpg_query takes some 20 µs to fingerprint a text and 100 µs to parse it, a mask 0.3 µs. So constants are masked
first (see sqlmask), and libpg_query is asked once about each masked text.
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
from pgtrace.sqlmask import MARK, mask, mask_distinct
from pgtrace.sqltree import Shape, read_tree

__all__ = ["Fingerprinter", "mask"]

#: above this share of distinct texts the join back costs more than masking every text
_MOSTLY_DISTINCT = 0.5
#: length of all masked texts that are remembered; some hundred MB with what is known of them
_CHARACTERS = 50_000_000
#: constants that the grammar may ask to be strings before the text counts as refused
_ATTEMPTS = 64


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
    nor what was seen before changes it. ``capacity`` bounds the number of masked texts that are remembered (their
    length is bounded too); the older half is forgotten when it is reached.
    """

    def __init__(self, capacity: int = 200_000) -> None:
        self._capacity = capacity
        self._known: dict[str, _Query] = {}
        self._characters = 0
        self._lock = Lock()

    def fingerprint(self, texts: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
        """The fingerprint of every text (16 hexadecimal digits, null for null), and the shapes that occur.

        The frame has ``fingerprint, query_text, verb, relations_read, relations_written, is_parsed``, one row for
        each distinct fingerprint, sorted. ``query_text`` has ``$n`` for constants and never a literal; of several
        masked texts with one fingerprint it is the least. Where PostgreSQL's grammar (version 17) does not accept the
        text, as when it was cut off, ``is_parsed`` is false, the fingerprint a hash of the masked text, the rest null.
        """
        texts = texts.cast(pl.String())
        if texts.hash().n_unique() > texts.len() * _MOSTLY_DISTINCT:
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
            self._characters += sum(map(len, queries))
            if len(self._known) > self._capacity or self._characters > _CHARACTERS:
                self._known = dict(list(self._known.items())[len(self._known) // 2 :])
                self._characters = sum(map(len, self._known))


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
