"""Block references in the text of ``pg_waldump`` (src/backend/access/rmgrdesc/xlogdesc.c, XLogRecGetBlockRefInfo).

Behind a description they are ``, blkref #0: rel 1663/5/1259 fork fsm blk 3 FPW``, without the fork where it is the main
one. With ``-b`` each is on a line of its own, ``\\tblkref #0: rel 1663/5/1259 fork main blk 3 (FPW); hole: offset: 212,
length: 7372, compression saved: 470, method: lz4``; as pg_walinspect prints them they have that form in one line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from pgtrace.bytewords import Flags, Letters, Places, Words, begins, numbers
from pgtrace.waltext import pieces

#: src/common/relpath.c, forkNames
FORKS = ("main", "fsm", "vm", "init")
#: what a reference says of an image of the page
NO_IMAGE, FULL_PAGE, FOR_VERIFICATION = 0, 1, 2
#: references that are read at once: what is computed of them stays in the processor's cache
_BATCH = 16_384
_VERIFICATION = b" for WAL verification"
_DETAILS = (
    r"^ \(FPW(?P<verification> for WAL verification)?\); hole: offset: (?P<hole_offset>\d+), "
    r"length: (?P<hole_length>\d+)(?:, compression saved: (?P<compression_saved_bytes>\d+)"
    r"(?:, method: (?P<compression_method>\w+))?)?"  # the method: 15
)
#: what only ``-b`` says, with the number of the reference
DETAILS_SCHEMA = pl.Schema(
    {
        "reference": pl.UInt32,
        "hole_offset": pl.Int64,
        "hole_length": pl.Int64,
        "compression_saved_bytes": pl.Int64,
        "compression_method": pl.String,
    }
)


@dataclass(slots=True)
class Blocks:
    """Block references in the order of the text, one array for each thing; ``fits`` is whether it could be read."""

    at: Places  # of its #
    line: Places
    block_no: Words
    tablespace_oid: Words
    database_oid: Words
    relfilenode: Words
    fork: npt.NDArray[np.uint8]  # of FORKS
    block: Words
    image: npt.NDArray[np.uint8]
    end: Places
    fits: Flags


def read_blocks(letters: Letters, at: Places, line: Places, ends: Places) -> tuple[Blocks, pl.DataFrame]:
    """The block references at these places, and what is printed of some with ``-b`` only."""
    parts = [
        _read(letters, at[start : start + _BATCH], line[start : start + _BATCH])
        for start in range(0, max(at.size, 1), _BATCH)
    ]
    blocks = Blocks(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Blocks)))
    details = _details(letters, blocks, ends)
    blocks.fits &= _is_followed(letters, blocks, ends)
    return blocks, details


def _read(letters: Letters, at: Places, line: Places) -> Blocks:
    """References up to the letters that only ``-b`` prints."""
    words = letters.words(at)
    block_no = (words >> np.uint64(8)) & np.uint64(0x0F)
    place = at + len("#0: rel ")
    fits = begins(words >> np.uint64(16), b": rel ")
    others = np.flatnonzero(~fits)  # there may be 33 of them
    if others.size:
        block_no[others], place[others] = numbers(letters, at[others] + 1)
        fits[others] = begins(letters.words(place[others]), b": rel ") & (place[others] > at[others] + 1)
        place[others] += len(": rel ")
    # the default tablespace, nearly always
    tablespace, after = np.full(at.size, 1663, dtype=np.uint64), place + len("1663")
    others = np.flatnonzero(~begins(letters.words(place), b"1663/"))
    if others.size:
        tablespace[others], after[others] = numbers(letters, place[others])
        fits[others] &= (letters.letters[after[others]] == ord("/")) & (after[others] > place[others])
    database, last = numbers(letters, after + 1)
    fits &= (letters.letters[last] == ord("/")) & (last > after + 1)
    relfilenode, after = numbers(letters, last + 1)
    fits &= after > last + 1
    fork, place = _forks(letters, after)
    fits &= place > after
    block, end = numbers(letters, place)
    fits &= end > place
    image = np.zeros(at.size, dtype=np.uint8)
    rows = np.flatnonzero(letters.letters[end] == ord(" "))
    rows = rows[begins(letters.words(end[rows]), b" FPW")]
    image[rows] = FULL_PAGE
    end[rows] += len(" FPW")
    rows = rows[begins(letters.words(end[rows]), _VERIFICATION[:8])]
    image[rows] = FOR_VERIFICATION
    end[rows] += len(_VERIFICATION)
    return Blocks(at, line, block_no, tablespace, database, relfilenode, fork, block, image, end, fits)


def _forks(letters: Letters, after: Places) -> tuple[npt.NDArray[np.uint8], Places]:
    """Forks, and where the number of the block begins: not behind ``after`` where that is none."""
    words = letters.words(after)
    fork = np.zeros(after.size, dtype=np.uint8)
    place = np.where(begins(words, b" blk "), after + len(" blk "), after)
    rows = np.flatnonzero(begins(words, b" fork "))
    if rows.size:
        names = letters.words(after[rows] + len(" fork "))
        for number, name in enumerate(FORKS):
            own = rows[begins(names, f"{name} ".encode())]
            behind = after[own] + len(f" fork {name}")
            own, behind = (part[begins(letters.words(behind), b" blk ")] for part in (own, behind))
            fork[own] = number
            place[own] = behind + len(" blk ")
    return fork, place


def _details(letters: Letters, blocks: Blocks, ends: Places) -> pl.DataFrame:
    """What ``-b`` says of images; fills in ``image`` and moves ``end`` behind it."""
    rows = np.flatnonzero(blocks.fits & (letters.letters[blocks.end] == ord(" ")))
    long = rows[begins(letters.words(blocks.end[rows]), b" (FPW")]
    if not long.size:
        return DETAILS_SCHEMA.to_frame()
    # text up to the next reference at most, so that every letter is in one text only
    following = np.append(blocks.at[1:], len(letters.text))[long]
    [texts] = pieces(letters.text, blocks.end[long], np.minimum(ends[blocks.line[long]], following))
    groups = texts.rename("text").to_frame().select(pl.col("text").str.extract_groups(_DETAILS), whole="text")
    read = groups.select(
        pl.col("text").struct.unnest(), length=pl.col("whole").str.extract(f"({_DETAILS[1:]})").str.len_bytes()
    ).with_columns(reference=pl.Series(long, dtype=pl.UInt32))
    read = read.filter(pl.col("length").is_not_null())
    at = read["reference"].to_numpy()
    blocks.image[at] = np.where(read["verification"].is_null().to_numpy(), FULL_PAGE, FOR_VERIFICATION)
    blocks.end[at] += read["length"].to_numpy()
    return read.select(pl.col(name).cast(dtype) for name, dtype in DETAILS_SCHEMA.items())


def _is_followed(letters: Letters, blocks: Blocks, ends: Places) -> Flags:
    """Whether nothing but the next reference, or the end of the line, is behind each."""
    fits: Flags = blocks.end == ends[blocks.line]
    rows = np.flatnonzero(~fits[:-1] & (blocks.line[1:] == blocks.line[:-1]))
    distance = blocks.at[rows + 1] - blocks.end[rows]
    # pg_walinspect puts no comma before the second one
    has_comma = (distance == len(", blkref ")) & (letters.letters[blocks.end[rows]] == ord(","))
    fits[rows] = has_comma | (distance == len(" blkref "))
    return fits
