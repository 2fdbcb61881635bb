"""WAL segments as sources: what their page headers say, and which other file a segment goes on in.

The layout is that of src/include/access/xlog_internal.h: a segment begins with a long page header, and a page that
begins in the middle of a record says how many bytes of it are to come. Limitations: WAL of little-endian machines. On
a new timeline the first segment repeats what the old one had before the switch; both are read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath

from pgtrace.errors import PgtraceError
from pgtrace.ingest.sources import Source, open_sources
from pgtrace.ingest.streams import LogStream, RawFile

#: the log format of what pg_waldump prints
WAL_FORMAT = "waldump"
#: XLOG_PAGE_MAGIC of each major version
VERSIONS = {0xD101: 12, 0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
#: how reading a segment ended: nothing can come any more; its last record goes on in a segment that was not there; the
#: server wrote more while it was read
WHOLE, NEEDS_NEXT, STILL_WRITTEN = "whole", "needs next", "still written"

_ANY_MAGIC = range(0xD050, 0xD200)
#: XLogPageHeaderData: magic, info, timeline, address, bytes of a record that are to come
_SHORT = struct.Struct("<HHIQI")
#: XLogLongPageHeaderData: and the system's number, the size of a segment, of a page
_LONG = struct.Struct("<HHIQI4xQII")
_CONTINUES, _IS_LONG = 1, 2
#: XLogRecord, the least that a record has
_RECORD_BYTES = 24
_SHORT_BYTES, LONG_BYTES = 24, _LONG.size
_SEGMENT_BYTES = [1 << power for power in range(20, 31)]
_BLOCK_BYTES = [1 << power for power in range(10, 17)]

#: of pg_receivewal and of a promotion (.partial), of pgBackRest (a checksum), compressed or not
_SEGMENT_NAME = re.compile(
    r"^(?P<name>(?P<timeline>[0-9A-F]{8})(?P<number>[0-9A-F]{16}))"
    r"(?:-[0-9a-f]{40})?(?P<partial>\.partial)?(?:\.(?:gz|zst|lz4|bz2|xz))?$"
)
_ENDINGS = ("", ".gz", ".zst", ".lz4", ".bz2", ".xz")
#: what lies beside segments and holds no WAL: histories, labels of backups, summaries, what the archiver notes
_BESIDE = re.compile(
    r"^(?:[0-9A-F]{8}\.history|[0-9A-F]{24}\.[0-9A-F]{8}\.backup|[0-9A-F]{40}\.summary|xlogtemp\.\d+"
    r"|[0-9A-F]{8}[0-9A-F.]*(?:\.history|\.backup|\.partial)?\.(?:ready|done))(?:\.(?:gz|zst|lz4|bz2|xz))?$"
)


class NothingToReadError(PgtraceError):
    """A file that is kept among WAL segments and has nothing to be read; its text says why."""


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The header of a segment's first page; ``missing_bytes`` of its first record are to come, if it ``continues``."""

    magic: int
    continues: bool
    timeline: int
    address: int
    missing_bytes: int
    system_id: int
    segment_bytes: int
    block_bytes: int

    @property
    def continued_to(self) -> int:
        """Where the record ends that the page begins in the middle of; its own address where it does not."""
        if not self.continues:
            return self.address
        missing = self.missing_bytes
        at, room = self.address + LONG_BYTES, self.block_bytes - LONG_BYTES
        while missing > room:
            missing -= room
            page = (at // self.block_bytes + 1) * self.block_bytes
            header = _SHORT_BYTES if page % self.segment_bytes else LONG_BYTES
            at, room = page + header, self.block_bytes - header
        return at + missing


def page_header(head: bytes) -> PageHeader | None:
    """The header at the beginning of a segment, None where ``head`` is not that of one."""
    if len(head) < LONG_BYTES:
        return None
    magic, info, timeline, address, missing, system_id, segment_bytes, block_bytes = _LONG.unpack_from(head)
    if magic not in _ANY_MAGIC or not info & _IS_LONG or segment_bytes not in _SEGMENT_BYTES:
        return None
    if block_bytes not in _BLOCK_BYTES or address % segment_bytes:
        return None
    return PageHeader(magic, bool(info & _CONTINUES), timeline, address, missing, system_id, segment_bytes, block_bytes)


def is_page(page: bytes, address: int, header: PageHeader) -> bool:
    """Whether ``page`` is the one of ``address`` in the same WAL."""
    if len(page) < _SHORT.size:
        return False
    magic, _, _, own_address, _ = _SHORT.unpack_from(page)
    return (magic, own_address) == (header.magic, address)


def begins_record(page: bytes, address: int, header: PageHeader) -> bool:
    """Whether ``page`` is the one of ``address`` in the same WAL, and a record begins on it."""
    if not is_page(page, address, header):
        return False
    _, info, _, _, missing = _SHORT.unpack_from(page)
    at = LONG_BYTES if info & _IS_LONG else _SHORT_BYTES
    if info & _CONTINUES:
        at += (missing + 7) // 8 * 8  # MAXALIGN
    # xl_tot_len is what a record begins with
    return int.from_bytes(page[at : at + 4], "little") >= _RECORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class WalSegment(Source):
    """A segment of WAL; what is read of it is the text that pg_waldump makes."""

    header: PageHeader
    timeline: int
    text: Callable[[WalSegment], RawFile] = field(compare=False)

    @property
    def is_compressed(self) -> bool:
        """True: how long its text is shows only in reading it."""
        return True

    @property
    def start(self) -> int:
        """The LSN of its first byte."""
        return self.header.address

    @property
    def end(self) -> int:
        """The LSN behind its last byte."""
        return self.start + self.header.segment_bytes

    @property
    def name(self) -> str:
        """What the server calls it."""
        return self._name(self.start)

    @property
    def next_name(self) -> str:
        """What the server calls the one behind it."""
        return self._name(self.end)

    @property
    def version(self) -> int | None:
        """The major version that wrote it, None if it is not one that is known."""
        return VERSIONS.get(self.header.magic)

    @property
    def identity(self) -> bytes:
        """What is the same for every copy of this segment, and for no other."""
        return self.identity_at(self.timeline, self.start)

    def identity_at(self, timeline: int, address: int) -> bytes:
        """The identity of the segment of the same WAL that begins at ``address``."""
        return b"WAL %016x %08x %016x\n" % (self.header.system_id, timeline, address)

    def _name(self, address: int) -> str:
        return f"{self.timeline:08X}{_number(address, self.header.segment_bytes)}"

    def open(self) -> LogStream:
        """The text."""
        return LogStream(self.label, lambda: self.text(self))

    def stored(self) -> LogStream:
        """The segment itself, decompressed."""
        return Source.open(self)


class WalFiles:
    """The segments among ``sources``, and who makes text of them."""

    def __init__(self, sources: Sequence[Source], text: Callable[[WalSegment], RawFile]):
        self._text = text
        self._by_number: dict[str, list[Source]] = {}
        for source in sources:
            if match := segment_name(source):
                self._by_number.setdefault(match["number"], []).append(source)

    def segment(self, source: Source, head: bytes) -> WalSegment | None:
        """The segment that ``source`` is by its first bytes, None for anything else.

        Raises NothingToReadError for a file that is kept for WAL to come, or is not WAL but lies beside it.
        """
        match, header = segment_name(source), page_header(head)
        if is_beside(source):
            raise NothingToReadError(f"{source.label}: lies beside WAL and holds none: there is nothing to read")
        if header is None:
            if match and not head.strip(b"\0"):
                raise NothingToReadError(f"{source.label}: is laid out for WAL to come: there is nothing in it yet")
            return None
        if match and match["number"] != _number(header.address, header.segment_bytes):
            raise NothingToReadError(
                f"{source.label}: is a recycled segment, kept for WAL to come: there is nothing of its own in it"
            )
        if match and match["partial"] and not source.is_named:
            raise NothingToReadError(f"{source.label}: is not a whole segment; to read it, name it")
        return self._made(source, header)

    def following(self, segment: WalSegment) -> WalSegment | None:
        """The segment behind ``segment``: among the sources, or in the same folder."""
        number = segment.next_name[8:]
        beside = []
        if segment.path is not None and segment.member_offset is None:
            paths = [segment.path.parent / f"{segment.next_name}{ending}" for ending in _ENDINGS]
            beside = open_sources([str(path) for path in paths if path.is_file()])
        found = [source for source in self._by_number.get(number, []) + beside if _timeline(source) >= segment.timeline]
        for source in sorted(found, key=lambda source: (_timeline(source), is_partial(source))):
            try:
                header = None if source.is_pipe else page_header(source.head(LONG_BYTES))
            except PgtraceError:
                continue  # whoever reads it will say so
            if header is not None and _is_behind(header, segment):
                return self._made(source, header)
        return None

    def _made(self, source: Source, header: PageHeader) -> WalSegment:
        match = segment_name(source)
        # on a new timeline the first page is a copy of the old one's, and so is the number in it
        timeline = int(match["timeline"], 16) if match else header.timeline
        values = {item.name: getattr(source, item.name) for item in fields(Source)}
        return WalSegment(**values, header=header, timeline=timeline, text=self._text)


def segment_name(source: Source) -> re.Match[str] | None:
    """The name of ``source`` if it is one of a segment, with its parts."""
    return _SEGMENT_NAME.match(_file_name(source))


def is_partial(source: Source) -> bool:
    """Whether its name says that it is the beginning of a segment."""
    match = segment_name(source)
    return match is not None and match["partial"] is not None


def is_beside(source: Source) -> bool:
    """Whether it is a file that PostgreSQL keeps beside WAL and that is no log either."""
    return _BESIDE.match(_file_name(source)) is not None


def _timeline(source: Source) -> int:
    """The timeline in its name; a later one's first segment begins like the one it took the place of."""
    match = segment_name(source)
    assert match is not None
    return int(match["timeline"], 16)


def _file_name(source: Source) -> str:
    return PurePosixPath(source.label.rpartition("!")[2]).name


def _number(address: int, segment_bytes: int) -> str:
    per_file = (1 << 32) // segment_bytes
    number = address // segment_bytes
    return f"{number // per_file:08X}{number % per_file:08X}"


def _is_behind(header: PageHeader, segment: WalSegment) -> bool:
    own = segment.header
    return (
        (header.magic, header.system_id, header.segment_bytes) == (own.magic, own.system_id, own.segment_bytes)
        and header.address == segment.end
        and header.timeline <= segment.timeline
    )
