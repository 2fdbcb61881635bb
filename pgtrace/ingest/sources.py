"""What there is to read: files, folders, globs, archives and standard input, each log a ``Source``."""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pgtrace.errors import PgtraceError, UsageError
from pgtrace.ingest.streams import MAGIC_BYTES, LogStream, RawFile, compression_of, decompressed

_STDIN = "-"
#: a folder with one of these is a lake
_LAKE_FILES = ("pgtrace.duckdb", "ledger.sqlite")
_TAR_MAGIC = slice(257, 262)
_TAR_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Source:
    """One log to read.

    ``label`` is the path as given, ``archive!member`` in an archive, ``-`` for standard input. ``size_bytes`` is the
    size on disk, compressed if it is, None for a pipe; ``mtime_ns`` is in ns since 1970; a member has its archive's
    ``device`` and ``inode``. ``compression`` is by the first bytes, not the name. ``is_named`` tells a file that was
    asked for by its name from one found in a folder, a glob or an archive. Pickles, but for pipes.
    """

    label: str
    path: Path | None
    size_bytes: int | None = None
    mtime_ns: int | None = None
    device: int | None = None
    inode: int | None = None
    compression: str | None = None
    is_named: bool = False
    is_pipe: bool = False
    #: where the member's bytes are in the (decompressed) archive
    member_offset: int | None = None
    member_size: int | None = None
    archive_compression: str | None = None
    problem: str | None = None

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input."""
        return self.label == _STDIN

    @property
    def is_compressed(self) -> bool:
        """Whether it, or the archive it is in, has to be decompressed to be read."""
        return self.compression is not None or self.archive_compression is not None

    def open(self) -> LogStream:
        """The decompressed bytes from the beginning; errors come from its ``read``. A pipe can be read once only."""
        return LogStream(self.label, self._open_log)

    def head(self, size: int) -> bytes:
        """The first ``size`` decompressed bytes, fewer where there are no more or the rest cannot be read.

        Leaves a later ``open`` untouched. Raises PgtraceError where nothing can be read.
        """
        if self.is_pipe:
            return _pipe(self.label).head(size)
        with self.open() as stream:
            return stream.read(size)

    def _open_log(self) -> RawFile:
        reopen = None if self.is_pipe else self._open_stored
        return decompressed(self._open_stored(), self.compression, reopen)

    def _open_stored(self) -> RawFile:
        """The bytes as they are on disk or in the archive."""
        if self.problem is not None:
            raise PgtraceError(f"{self.label}: {self.problem}")
        if self.is_pipe:
            return _pipe(self.label)
        assert self.path is not None
        file = io.FileIO(self.path)
        if self.member_offset is None:
            return file
        archive = LogStream(
            str(self.path), lambda: decompressed(file, self.archive_compression, lambda: io.FileIO(str(self.path)))
        )
        archive.skip(self.member_offset)
        return _Part(archive, self.member_size or 0)


class _Part:
    """A member of an archive: so many bytes from here."""

    def __init__(self, archive: LogStream, size: int) -> None:
        self._archive = archive
        self._missing = size

    def read(self, size: int, /) -> bytes:
        data = self._archive.read(min(size, self._missing)) if self._missing else b""
        if not data and self._missing:
            raise EOFError
        self._missing -= len(data)
        return data

    def close(self) -> None:
        self._archive.close()


class _Pipe:
    """Standard input, or a named pipe: what ``head`` looked at comes again from ``read``. Decompressed."""

    def __init__(self, label: str, raw: RawFile) -> None:
        first = raw.read(MAGIC_BYTES)
        while len(first) < MAGIC_BYTES and (more := raw.read(MAGIC_BYTES - len(first))):
            first += more
        self._stream = LogStream(label, lambda: decompressed(_Replayed(first, raw), compression_of(first)))
        self._seen = b""

    def head(self, size: int) -> bytes:
        if len(self._seen) < size:
            self._seen += self._stream.read(size - len(self._seen))
        return self._seen[:size]

    def read(self, size: int, /) -> bytes:
        if not self._seen:
            return self._stream.read(size)
        data, self._seen = self._seen[:size], self._seen[size:]
        return data

    def close(self) -> None:
        """Stays open: closing standard input is not ours to do."""


class _Replayed:
    """``first``, and then the rest of ``raw``."""

    def __init__(self, first: bytes, raw: RawFile) -> None:
        self._first, self._raw = first, raw

    def read(self, size: int, /) -> bytes:
        if not self._first:
            return self._raw.read(size)
        data, self._first = self._first[:size], self._first[size:]
        return data

    def close(self) -> None:
        self._raw.close()


#: pipes of this process by label; a pipe cannot be opened twice
_pipes: dict[str, _Pipe] = {}


def _pipe(label: str) -> _Pipe:
    if label not in _pipes:
        raw: RawFile = sys.stdin.buffer if label == _STDIN else io.FileIO(label)
        _pipes[label] = _Pipe(label, raw)
    return _pipes[label]


def open_sources(paths: Sequence[str], leave_out: Sequence[Path] = ()) -> list[Source]:
    """Every log that ``paths`` name, in their order, those of a folder or glob by name; each file once.

    Hidden files, lakes and the folders ``leave_out`` are not looked into. Nothing is read but the first bytes of a
    file, and the list of an archive's members. Raises UsageError for a path that does not exist.
    """
    found: dict[tuple[object, ...], Source] = {}
    left_out = {folder.resolve() for folder in leave_out}
    for path in paths:
        for source in _of_path(path, left_out):
            key = (source.device, source.inode, source.member_offset) if source.inode else (source.label,)
            if key not in found or (source.is_named and not found[key].is_named):
                found[key] = source
    return list(found.values())


def _of_path(text: str, leave_out: set[Path]) -> Iterator[Source]:
    if text == _STDIN:
        yield Source(_STDIN, None, is_named=True, is_pipe=True)
        return
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises where the folder above may not be entered
        yield from _of_folder(path, leave_out)
    elif _is_there(path):
        yield from _of_file(path, is_named=True)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207  absolute patterns too
        if not matches:
            raise UsageError(f"{text}: no file has a name like that")
        for match in map(Path, matches):
            yield from _of_folder(match, leave_out) if match.is_dir() else _of_file(match, is_named=False)
    else:
        raise UsageError(f"{text}: no such file or folder")


def _is_there(path: Path) -> bool:
    """Whether the path exists, if only as a link to nowhere or where we may not look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _of_folder(folder: Path, leave_out: set[Path]) -> Iterator[Source]:
    """Files below ``folder`` in the order of their paths; a link back to a folder above is followed once."""
    if folder.resolve() in leave_out:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Source(str(folder), folder, problem=f"cannot be read ({error.strerror}): check its owner and permissions")
        return
    if any(entry.name in _LAKE_FILES for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            is_folder, is_file = False, True  # whoever reads it will say so
        if is_folder:
            yield from _of_folder(entry, leave_out | {folder.resolve()})
        elif is_file:
            yield from _of_file(entry, is_named=False)


def _of_file(path: Path, *, is_named: bool) -> Iterator[Source]:
    """A file, or the members of an archive."""
    label = str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            yield Source(label, path, is_named=is_named, is_pipe=True)
            return
        with path.open("rb", buffering=0) as file:
            compression = compression_of(file.read(MAGIC_BYTES))
    except OSError as error:
        problem = f"cannot be read ({error.strerror}): check that it exists, its owner and permissions"
        yield Source(label, path, is_named=is_named, problem=problem)
        return
    source = Source(
        label, path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, compression, is_named
    )
    if _is_tar(source):
        yield from _members(source)
    else:
        yield source


def _is_tar(source: Source) -> bool:
    try:
        return source.head(_TAR_BLOCK)[_TAR_MAGIC] == b"ustar"
    except PgtraceError:
        return False  # whoever reads it will say so


def _members(archive: Source) -> Iterator[Source]:
    """Regular files of an archive, which is read through once for that."""
    with archive.open() as stream:
        try:
            with tarfile.open(fileobj=_Seekless(stream), mode="r|") as tar:
                for member in tar:
                    if member.isreg() and not PurePosixPath(member.name).name.startswith("."):
                        yield _member(archive, member)
        except (PgtraceError, tarfile.TarError) as error:
            problem = str(error).removeprefix(f"{archive.label}: ")
            yield replace(archive, problem=f"the list of its members cannot be read to its end: {problem}")


def _member(archive: Source, member: tarfile.TarInfo) -> Source:
    source = replace(
        archive,
        label=f"{archive.label}!{member.name}",
        size_bytes=member.size,
        mtime_ns=int(member.mtime * 1_000_000_000),
        compression=None,
        is_named=False,
        member_offset=member.offset_data,
        member_size=member.size,
        archive_compression=archive.compression,
    )
    try:
        return replace(source, compression=compression_of(source.head(MAGIC_BYTES)))
    except PgtraceError:
        return source


class _Seekless(io.RawIOBase):
    """What tarfile reads from."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(size)
