"""A source cut into chunks of whole records: bounded memory, and every byte in exactly one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pgtrace.errors import PgtraceError
from pgtrace.logformat import LogFormat, Reading

#: small chunks stay in the processor's cache and keep memory low; below 8 MB the calls into Polars cost more
CHUNK_BYTES = 16 * 1024 * 1024
#: a record that does not end within this is cut: PostgreSQL cannot write a message of more than 1 GB
LONGEST_RECORD = 1024 * 1024 * 1024


class Stream(Protocol):
    """What a source opens as."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""
        ...


@dataclass(frozen=True)
class Chunk:
    """Whole records of a source: ``data`` begins at byte ``offset`` and line ``first_line``.

    ``is_last_record`` marks the one that ends the source, which may yet grow.
    """

    data: bytes
    offset: int
    first_line: int
    is_last_record: bool = False

    @cached_property
    def lines(self) -> int:
        """Lines in the chunk; a rest without a line end counts as one."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))


def chunks(
    stream: Stream, log_format: LogFormat, reading: Reading, offset: int, first_line: int, size: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Cut what is left of ``stream`` at record boundaries. The last record of the source comes by itself.

    Raises PgtraceError where the stream does, after all that came before.
    """
    held = b""
    want = size
    while True:
        block, failure = _read_fully(stream, want - len(held))
        is_end = len(block) < want - len(held)
        held = held + block if held else block
        cut = log_format.last_record(held, reading) if held else 0
        if is_end:
            for data, is_last in ((held[:cut], False), (held[cut:], True)):
                if data:
                    chunk = Chunk(data, offset, first_line, is_last)
                    yield chunk
                    offset, first_line = offset + len(data), first_line + chunk.lines
            if failure is not None:
                raise failure
            return
        if cut == 0 and len(held) >= LONGEST_RECORD:
            cut = len(held)
        if cut == 0:
            want = len(held) * 2  # one record fills the buffer: double it, so that looking again stays linear
            continue
        chunk = Chunk(held[:cut], offset, first_line)
        yield chunk
        offset, first_line = offset + cut, first_line + chunk.lines
        held = held[cut:]
        want = max(size, len(held) + size)


def _read_fully(stream: Stream, size: int) -> tuple[bytes, PgtraceError | None]:
    """``size`` bytes unless the stream ends or fails: pipes and decompressors give what they have."""
    parts: list[bytes] = []
    missing = size
    try:
        while missing > 0 and (block := stream.read(missing)):
            parts.append(block)
            missing -= len(block)
    except PgtraceError as error:
        return b"".join(parts), error
    return parts[0] if len(parts) == 1 else b"".join(parts), None
