"""Bytes of a log made into valid UTF-8 without NUL.

Databases in SQL_ASCII or LATIN1 put bytes into the log that are no UTF-8, into the jsonlog as well; Polars refuses a
whole buffer for one of them. A crash of the machine leaves runs of NUL bytes behind.
"""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
#: a few bad bytes in a chunk of tens of MB should cost the repair of their surroundings only
_PIECE = 65_536


def clean_utf8(chunk: bytes) -> bytes:
    """The chunk with U+FFFD in place of every NUL and of what is no UTF-8; the chunk itself where there is neither.

    Lines stay as they are: neither a NUL nor an invalid sequence ever holds a newline.
    """
    if not _is_utf8(chunk):
        chunk = b"".join(
            piece if _is_utf8(piece) else piece.decode(errors="replace").encode() for piece in _pieces(chunk)
        )
    return chunk.replace(b"\0", _REPLACEMENT) if b"\0" in chunk else chunk


def _is_utf8(text: bytes) -> bool:
    if text.isascii():  # ten times as fast as decode, and most logs are
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pieces(chunk: bytes) -> list[bytes]:
    """The chunk cut behind newlines, so that no character is divided."""
    pieces, start = [], 0
    while start < len(chunk):
        end = chunk.find(b"\n", start + _PIECE) + 1 or len(chunk)
        pieces.append(chunk[start:end])
        start = end
    return pieces
