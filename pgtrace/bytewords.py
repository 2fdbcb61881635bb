"""Numbers and words at known places of a text, for all rows at once.

A text of fixed layout is read by position; what is there is looked at eight letters at a time, as one integer whose
lowest byte is the first letter. That is some ten times as fast as cutting strings and casting them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

#: letters that may be looked at behind the end of the text; they are line ends
_SPARE = 256
_BLOCK = 1024 * 1024
_ALL = (1 << 64) - 1


def _every(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


def word_of(letters: bytes) -> tuple[np.uint64, np.uint64]:
    """Up to eight letters as a word, and the mask of as many letters."""
    return np.uint64(int.from_bytes(letters, "little")), np.uint64((1 << 8 * len(letters)) - 1)


def begins(words: Words, letters: bytes) -> Flags:
    """Whether each word begins with these letters."""
    word, mask = word_of(letters)
    fits: Flags = (words & mask) == word
    return fits


class Letters:
    """A text as letters, and as words that begin at any of them; behind its end are line ends."""

    def __init__(self, text: bytes):
        self.text = text
        self.letters = np.frombuffer(text + b"\n" * _SPARE, dtype=np.uint8)
        self._words: Words = np.ndarray((len(text) + _SPARE - 8,), "<u8", buffer=self.letters, strides=(1,))

    def words(self, places: Places) -> Words:
        """The eight letters from each place on."""
        return self._words[places]

    def windows(self, places: Places, width: int) -> Windows:
        """The ``width`` letters from each place on."""
        every = np.ndarray((len(self.text) + _SPARE - width,), f"V{width}", buffer=self.letters, strides=(1,))
        return Windows(every[places], width)

    def find(self, *wanted: bytes) -> tuple[Places, npt.NDArray[np.uint8]]:
        """Places of these letters in the text, in order; and the letters, as numbers."""
        found = []
        for start in range(0, len(self.text), _BLOCK):  # pieces that stay in the processor's cache
            piece = self.letters[start : min(start + _BLOCK, len(self.text))]
            is_wanted = piece == ord(wanted[0])
            for other in wanted[1:]:
                is_wanted |= piece == ord(other)
            found.append(np.flatnonzero(is_wanted) + start)
        places: Places = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        return places, self.letters[places]


class Windows:
    """As many letters of every row, side by side."""

    def __init__(self, rows: npt.NDArray[np.void], width: int):
        self._rows = rows
        self._width = width

    def words(self, at: int) -> Words:
        """The eight letters from the letter ``at`` of each row on."""
        return np.ndarray((len(self._rows),), "<u8", buffer=self._rows, offset=at, strides=(self._width,)).copy()


def last_letters(words: Words, width: int, filler: bytes) -> Words:
    """The last ``width`` letters of each word, with ``filler`` in place of those before."""
    if width >= 8:
        return words
    keep = np.uint64(_ALL << 8 * (8 - width) & _ALL)
    return (words & keep) | (_every(ord(filler)) & ~keep)


def decimals(words: Words) -> Words:
    """The number that eight digits are; blanks in front count as zeros."""
    digits = words & _every(0x0F)
    pairs = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs * np.uint64(100) + (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (fours * np.uint64(10_000) + (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def hexadecimals(words: Words) -> Words:
    """The number that eight hexadecimal digits are."""
    digits = (words & _every(0x0F)) + ((words >> np.uint64(6)) & _every(1)) * np.uint64(9)
    pairs = ((digits << np.uint64(4)) | (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    fours = ((pairs << np.uint64(8)) | (pairs >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return ((fours << np.uint64(16)) | (fours >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


def _no_digits(words: Words) -> Words:
    """Bits in the upper half of every byte that is no digit; right up to the first such byte."""
    offset = words ^ _every(0x30)
    return ((offset + _every(6)) | offset) & _every(0xF0)


def are_padded_decimals(words: Words) -> Flags:
    """Whether the letters are digits behind blanks, at least one."""
    blanks = (~words & _every(0x10)) >> np.uint64(4)  # of digits and blanks, only the blanks lack this bit
    wrong = _no_digits(words | _every(0x10)) | (blanks * np.uint64(0x0F) & words)
    wrong |= (blanks & ~(blanks << np.uint64(8) | np.uint64(1))) | (blanks >> np.uint64(56))
    fits: Flags = wrong == 0
    return fits


def are_hexadecimals(words: Words) -> Flags:
    """Whether all eight letters are digits or A to F."""
    number = words ^ _every(0x40)  # of A to F, 1 to 6
    no_letters = ((number + _every(9)) | number) & _every(0xF0)
    no_letters |= (number + _every(0x7F)) & _every(0x80) ^ _every(0x80)
    fits: Flags = (_marked(_no_digits(words)) & _marked(no_letters)) == 0
    return fits


def _marked(upper_halves: Words) -> Words:
    """One bit for every byte that has any bit in its upper half."""
    folded = upper_halves | upper_halves >> np.uint64(2)
    marks: Words = (folded | folded >> np.uint64(1)) & _every(0x10)
    return marks


def _digit_count(words: Words) -> Words:
    """How many digits a word begins with: 0 to 8."""
    return _letters_below(_no_digits(words))


def letters_before(words: Words, letter: bytes) -> Words:
    """How many letters there are before the first ``letter`` in each word: 8 where it has none."""
    offset = words ^ _every(ord(letter))
    # the lowest zero byte is found exactly; the ones above it do not matter
    zeros = (offset - _every(1)) & ~offset & _every(0x80)
    return _letters_below(zeros)


def _letters_below(marks: Words) -> Words:
    """How many letters there are before the first that has a bit in ``marks``: 8 where none has."""
    below = ~marks & (marks - np.uint64(1))  # all bits under the lowest one
    return (np.bitwise_count(below) >> np.uint8(3)).astype(np.uint64)


def numbers(letters: Letters, places: Places) -> tuple[Words, Places]:
    """The decimal number, of up to ten digits, that begins at each place, and where it ends.

    Where there is no digit it ends where it begins, and the number is none.
    """
    words = letters.words(places)
    count = _digit_count(words)
    values = _moved_up(words, count)
    long = np.flatnonzero(count == 8)
    if long.size:
        more = letters.words(places[long] + 8)
        further = np.minimum(_digit_count(more), np.uint64(2))
        tail = np.where(further == 0, np.uint64(0), _moved_up(more, further))
        values[long] = values[long] * np.uint64(10) ** further + tail
        count[long] += further
    return values, places + count.view(np.int64)


def _moved_up(words: Words, count: Words) -> Words:
    """The number that the first ``count`` digits of each word are: 1 to 8, moved to its end."""
    return decimals(words << ((np.uint64(8) - count) << np.uint64(3) & np.uint64(63)))


def nullable(values: Words | Places, is_known: Flags) -> pl.Series:
    """The values as a column, null where one is not known."""
    if is_known.all():
        return pl.Series(values)
    known = pa.py_buffer(np.packbits(is_known, bitorder="little"))
    kind = pa.uint64() if values.dtype == np.uint64 else pa.int64()
    return pl.Series(pa.Array.from_buffers(kind, len(values), [known, pa.py_buffer(np.ascontiguousarray(values))]))
