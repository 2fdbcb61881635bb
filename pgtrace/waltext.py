"""The lines of ``pg_waldump`` (src/bin/pg_waldump/pg_waldump.c, XLogDumpDisplayRecord), versions 12 to 18.

A record is a line, ``rmgr: Heap        len (rec/tot):     54/    54, tx: …, lsn: …, prev …, desc: INSERT off 3``, with
its block references behind (``, blkref #0: rel 1663/5/1259 blk 0 FPW``) or, with ``-b``, on lines of their own. Up to
``desc:`` all stands at fixed places, unless a name or number is wider than its column: those lines a pattern reads.

Limitations: names that users choose (of a prepared transaction, a restore point, the prefix of a logical message) are
printed as they are. One that holds a line of pg_waldump's, from its first letter on, passes for a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
import pyarrow as pa

from pgtrace.bytewords import (
    Flags,
    Letters,
    Places,
    Windows,
    Words,
    are_hexadecimals,
    are_padded_decimals,
    begins,
    decimals,
    hexadecimals,
    last_letters,
    letters_before,
)

HEAD = (
    r"^(?P<head>rmgr: (?P<name>[^ ]+) +len \(rec/tot\): *(?P<record_bytes>\d+)/ *(?P<total_bytes>\d+), "
    r"tx: *(?P<xid>\d+), lsn: (?P<high>[0-9A-F]{1,8})/(?P<low>[0-9A-F]{1,8}), "
    r"prev (?P<prev_high>[0-9A-F]{1,8})/(?P<prev_low>[0-9A-F]{1,8}), desc: )"
    r"(?P<type>UNKNOWN \([0-9a-f]+\)|[^ ]+)"
)
_HEAD = re.compile(HEAD.removeprefix("^").encode())
#: letters up to the description's second and third word, where nothing is wider than its column
_HEAD_WIDTH = 152
_NAME_AT, _LSN_AT = 6, 69
#: lines that are read at once: what is computed of them stays in the processor's cache
_BATCH = 16_384
#: the upper half of the LSN changes every 4 GB; lines in more than so many layouts are left to the pattern
_MOST_LAYOUTS = 4
_SAMPLE = 100


@dataclass(slots=True)
class Heads:
    """Records by what their first lines begin with: one array for each thing, ``line`` is the number of the line."""

    line: Places
    record_bytes: Words
    total_bytes: Words
    xid: Words
    lsn: Words
    prev_lsn: Words
    name_at: Places
    name_end: Places
    type_at: Places
    type_end: Places
    #: the first eight letters of both
    name: Words
    type: Words

    def kept(self, which: Flags | Places) -> Heads:
        """Some of the records."""
        return Heads(*(getattr(self, field.name)[which] for field in fields(self)))


def first_lsn(text: bytes) -> int | None:
    """The position of the first record in ``text``."""
    match = re.search(rb"(?m)^" + _HEAD.pattern, text)
    return None if match is None else int(match["high"], 16) << 32 | int(match["low"], 16)


def last_head(text: bytes) -> int:
    """Where the last line that is a record's first begins; 0 where there is none behind the first letter."""
    end = len(text)
    while (at := text.rfind(b"\nrmgr: ", 0, end)) >= 0:
        if _HEAD.match(text, at + 1, at + 1 + 2 * _HEAD_WIDTH):
            return at + 1
        end = at + 1
    return 0


def pieces(text: bytes, *bounds: Places) -> list[pl.Series]:
    """Texts between the first and second bound, the third and fourth, …, of every row, in the memory of ``text``.

    The bounds must not go down, neither in a row nor from one row to the next.
    """
    width = len(bounds)
    if not bounds[0].size:
        return [pl.Series(dtype=pl.String) for _ in range(width // 2)]
    offsets = np.stack(bounds, axis=1).ravel()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    every = pl.Series(pa.Array.from_buffers(pa.large_string(), offsets.size - 1, buffers))
    return [every.gather_every(width, start) for start in range(0, width, 2)]


def read_heads(letters: Letters, starts: Places, ends: Places) -> Heads:
    """The lines that are a record's first, in their order."""
    rows = np.flatnonzero(letters.letters[starts] == ord("r"))
    found = []
    for _ in range(_MOST_LAYOUTS):
        sample = _sample(letters, starts[rows[:_SAMPLE]])
        if sample is None:
            break
        fits = []
        for begin in range(0, rows.size, _BATCH):
            heads, fitting = _by_place(letters, rows[begin : begin + _BATCH], starts, ends, sample)
            found.append(heads if fitting.all() else heads.kept(fitting))
            fits.append(fitting)
        rows = rows[~np.concatenate(fits)]
    if rows.size or not found:
        found.append(_by_pattern(letters, starts, ends, rows))
    heads = Heads(*(np.concatenate([getattr(part, field.name) for part in found]) for field in fields(Heads)))
    return heads if (heads.line[1:] > heads.line[:-1]).all() else heads.kept(np.argsort(heads.line, kind="stable"))


def _sample(letters: Letters, starts: Places) -> tuple[bytes, bytes] | None:
    """The upper halves of the two LSNs of the first record: they have no column of their own, and rarely change."""
    for start in starts.tolist():
        match = _HEAD.match(letters.text, start)
        if match is not None:
            return match["high"], match["prev_high"]
    return None


def _by_place(
    letters: Letters, rows: Places, starts: Places, ends: Places, sample: tuple[bytes, bytes]
) -> tuple[Heads, Flags]:
    """These lines as if everything stood where it usually does, and whether it does."""
    at = starts[rows]
    windows = letters.windows(at, _HEAD_WIDTH)
    high, prev_high = sample
    low_at = _LSN_AT + len(high) + 1
    prev_at = low_at + 8 + len(", prev ") + len(prev_high) + 1
    type_at = prev_at + 8 + len(", desc: ")
    fits = begins(windows.words(0), b"rmgr: ")
    for place, literal in (
        *((17, b" len (rec/tot): "), (39, b"/"), (46, b", tx: "), (62, b", lsn: " + high + b"/")),
        *((low_at + 8, b", prev " + prev_high + b"/"), (prev_at + 8, b", desc: ")),
    ):
        fits &= _are(windows, place, literal)
    record_words, total_words = (last_letters(windows.words(end - 8), 6, b" ") for end in (39, 46))
    record_bytes, are_sizes = decimals(record_words), are_padded_decimals(record_words)
    total_bytes = record_bytes.copy()  # they are the same for all without an image
    others = np.flatnonzero(total_words != record_words)
    total_bytes[others] = decimals(total_words[others])
    are_sizes[others] &= are_padded_decimals(total_words[others])
    xid, are_xids = _xids(windows)
    lower, prev_lower = windows.words(low_at), windows.words(prev_at)
    lsn, are_lsns = hexadecimals(lower), are_hexadecimals(lower)
    prev_lsn, are_prev = np.roll(lsn, 1), np.roll(are_lsns, 1)  # nearly always that of the record before
    others = np.flatnonzero(prev_lower != np.roll(lower, 1))
    prev_lsn[others], are_prev[others] = hexadecimals(prev_lower[others]), are_hexadecimals(prev_lower[others])
    lsn |= np.uint64(int(high, 16) << 32)
    prev_lsn |= np.uint64(int(prev_high, 16) << 32)
    name, type_ = windows.words(_NAME_AT), windows.words(type_at)
    name_width = _width_of_word(windows, name, _NAME_AT, 2)
    type_width = _width_of_word(windows, type_, type_at, 3)
    unknown = np.flatnonzero(begins(type_, b"UNKNOWN "))
    # its code is a second word: UNKNOWN (f0)
    type_width[unknown] = letters_before(windows.words(type_at + 8)[unknown], b")").astype(np.int64) + 9
    fits &= are_sizes & are_xids & are_lsns & are_prev
    fits &= (name_width > 0) & (name_width <= 11) & (type_width > 0) & (type_width < 24)
    names, types = at + _NAME_AT, at + type_at
    fits &= types + type_width <= ends[rows]
    ends_of = (names + name_width, types + type_width)
    sizes = (record_bytes, total_bytes)
    return Heads(rows, *sizes, xid, lsn, prev_lsn, names, ends_of[0], types, ends_of[1], name, type_), fits


def _are(windows: Windows, at: int, literal: bytes) -> Flags:
    """Whether a literal stands there."""
    fits = begins(windows.words(at), literal[:8])
    for start in range(8, len(literal), 8):
        fits &= begins(windows.words(at + start), literal[start : start + 8])
    return fits


def _xids(windows: Windows) -> tuple[Words, Flags]:
    """Ten digits with blanks in front, and whether they are."""
    words = windows.words(54)
    fits, values = are_padded_decimals(words), decimals(words)
    upper = last_letters(windows.words(46), 2, b" ")
    rows = np.flatnonzero(~begins(upper, b" " * 8))
    if rows.size:
        fits[rows] &= are_padded_decimals(upper[rows]) & (letters_before(words[rows], b" ") == 8)
        values[rows] += decimals(upper[rows]) * np.uint64(10**8)
    return values, fits


def _width_of_word(windows: Windows, words: Words, at: int, most: int) -> Places:
    """How many letters there are before the first blank; looks at ``most`` times eight, ``words`` being the first."""
    width = letters_before(words, b" ")
    for number in range(1, most):
        rows = np.flatnonzero(width == number * 8)
        if rows.size:
            width[rows] += letters_before(windows.words(at + number * 8)[rows], b" ")
    return width.astype(np.int64)


def _by_pattern(letters: Letters, starts: Places, ends: Places, rows: Places) -> Heads:
    """Lines where something is wider than its column, or that are no records."""
    [lines] = pieces(letters.text, starts[rows], ends[rows])
    read = lines.rename("line").to_frame().select(pl.col("line").str.extract_groups(HEAD)).unnest("line")
    numbers = read.select(
        *(pl.col(name).cast(pl.UInt64, strict=False) for name in ("record_bytes", "total_bytes", "xid")),
        *(
            (_hexadecimal(f"{half}high") * 2**32 + _hexadecimal(f"{half}low")).alias(f"{half}lsn")
            for half in ("", "prev_")
        ),
        name_width=pl.col("name").str.len_bytes().cast(pl.Int64),
        type_at=pl.col("head").str.len_bytes().cast(pl.Int64),
        type_width=pl.col("type").str.len_bytes().cast(pl.Int64),
    )
    is_read = numbers.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    numbers, rows = numbers.filter(is_read), rows[is_read.to_numpy()]
    names, types = starts[rows] + _NAME_AT, starts[rows] + numbers["type_at"].to_numpy()
    return Heads(
        line=rows,
        **{name: numbers[name].to_numpy() for name in ("record_bytes", "total_bytes", "xid", "lsn", "prev_lsn")},
        name_at=names,
        name_end=names + numbers["name_width"].to_numpy(),
        type_at=types,
        type_end=types + numbers["type_width"].to_numpy(),
        name=letters.words(names),
        type=letters.words(types),
    )


def _hexadecimal(name: str) -> pl.Expr:
    return pl.col(name).str.to_integer(base=16, dtype=pl.UInt64, strict=False)
