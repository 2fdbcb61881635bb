"""Bytes of a file as they were before compression: gzip, zstd, bzip2, xz and lz4, known by their first bytes.

Limitations: of a damaged (not merely cut off) zstd, lz4, xz or bzip2 file, what was decompressed together with the
damaged block is lost, up to 1 MB.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from pgtrace.errors import PgtraceError

#: first bytes of a file, and what its compression is called
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
MAGIC_BYTES = 6
_COMPRESSED_PIECE = 65_536
_PIECE = 1_048_576
_WHAT_TO_DO = {
    "ends early": "copy it again in full and ingest it again; what it has was read",
    "is damaged": "copy it again and ingest it again; what stands before the damage was read",
}


def compression_of(head: bytes) -> str | None:
    """Name of the compression that a file beginning with ``head`` has, None for none."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class RawFile(Protocol):
    """What is decompressed: a file, a pipe, a member of an archive."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""
        ...

    def close(self) -> None:
        """Give it back."""


class LogStream:
    """Decompressed bytes of one source, in bounded memory.

    ``read`` raises PgtraceError, naming the source and what to do, where it cannot be read, is damaged or ends early,
    and only after every byte before that was returned. The file is opened at the first ``read``.
    """

    def __init__(self, label: str, open_raw: Callable[[], RawFile]) -> None:
        self._label = label
        self._open_raw = open_raw
        self._raw: RawFile | None = None
        self._problem: PgtraceError | None = None

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""
        if self._problem is not None:
            raise self._problem
        parts, missing = [], size
        try:
            if self._raw is None:
                self._raw = self._open_raw()
            while missing > 0 and (part := self._raw.read(missing)):
                parts.append(part)
                missing -= len(part)
        except (PgtraceError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            self._problem = error if isinstance(error, PgtraceError) else self._explained(error)
            if not parts:
                raise self._problem from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, count: int) -> None:
        """Go ``count`` bytes on; a plain file is not read for it."""
        if self._raw is None and count and self._problem is None:
            try:
                self._raw = self._open_raw()
            except OSError as error:
                raise self._explained(error) from None
        if isinstance(self._raw, io.FileIO):
            self._raw.seek(count, io.SEEK_CUR)
            return
        while count > 0 and (part := self.read(min(count, _PIECE))):
            count -= len(part)

    @property
    def ending(self) -> str | None:
        """How a WAL segment ended, once it has; None for everything else."""
        return getattr(self._raw, "ending", None)

    def _explained(self, error: Exception) -> PgtraceError:
        if isinstance(error, OSError) and error.errno is not None:
            return PgtraceError(f"{self._label}: cannot be read ({error.strerror}): check its owner and permissions")
        what = "ends early" if isinstance(error, EOFError) or "Truncated" in str(error) else "is damaged"
        return PgtraceError(f"{self._label}: {what}: {_WHAT_TO_DO[what]}")

    def close(self) -> None:
        """Close the file."""
        if self._raw is not None:
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def decompressed(raw: RawFile, compression: str | None, reopen: Callable[[], RawFile] | None = None) -> RawFile:
    """``raw`` without its compression; members that were concatenated follow each other.

    ``reopen`` opens the same bytes once more, where that is possible.
    """
    if compression is None:
        return raw
    if compression in ("zstd", "lz4"):
        return _Arrow(raw, compression, reopen)
    return _Standard(raw, compression)


class _Standard:
    """gzip, bzip2 and xz with the standard library, whose decompressors say what is left when a member ends."""

    def __init__(self, raw: RawFile, compression: str) -> None:
        self._raw = raw
        members: dict[str, Callable[[], Any]] = {
            "gzip": _Gzip,
            "bzip2": bz2.BZ2Decompressor,
            "xz": lzma.LZMADecompressor,
        }
        self._new = members[compression]
        self._member = self._new()

    def read(self, size: int, /) -> bytes:
        size = min(size, _PIECE)
        while True:
            data = b""
            if self._member.eof:
                # zeros fill up the last block of a tape or a disk image
                data = self._member.unused_data.lstrip(b"\0") or self._raw.read(_COMPRESSED_PIECE).lstrip(b"\0")
                if not data:
                    return b""
                self._member = self._new()
            elif self._member.needs_input:
                data = self._raw.read(_COMPRESSED_PIECE)
            is_end = not data and self._member.needs_input
            block: bytes = self._member.decompress(data, size)
            if block:
                return block
            if is_end and not self._member.eof:
                raise EOFError

    def close(self) -> None:
        self._raw.close()


class _Gzip:
    """zlib with the interface of the other two. What decodes before damage is still returned."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._step = _PIECE

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._zlib.eof

    def decompress(self, data: bytes, size: int) -> bytes:
        data = self._zlib.unconsumed_tail + data
        while True:
            before = self._zlib.copy()
            try:
                return self._zlib.decompress(data, min(size, self._step))
            except zlib.error:
                if self._step == 1:
                    raise
                self._zlib = before  # go back, and come as near to the damage as halving does
                self._step //= 2


class _Arrow:
    """zstd and lz4 with pyarrow.

    A read that fails loses what it had decompressed before, so the file is then read again up to there, and on from
    there in single bytes.
    """

    def __init__(self, raw: RawFile, compression: str, reopen: Callable[[], RawFile] | None) -> None:
        self._raw, self._compression, self._reopen = raw, compression, reopen
        self._stream = self._decompressor()
        self._returned = 0
        self._step = _COMPRESSED_PIECE

    def _decompressor(self) -> Any:
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(_Readable(self._raw), mode="r"), self._compression)

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._stream.read(min(size, self._step))
        except OSError as error:
            if self._reopen is None or self._step == 1 or error.errno is not None:
                raise
            self._raw.close()
            self._raw, self._step = self._reopen(), 1
            self._stream = self._decompressor()
            missing = self._returned
            while missing:
                missing -= len(self._stream.read(min(missing, _COMPRESSED_PIECE)))
            data = self._stream.read(1)
        self._returned += len(data)
        return data

    def close(self) -> None:
        self._raw.close()


class _Readable(io.RawIOBase):
    """The least that pyarrow wants of a file."""

    def __init__(self, raw: RawFile) -> None:
        self._source = raw

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)
