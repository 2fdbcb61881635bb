"""The text of WAL segments, made by pg_waldump of the version that wrote them; nothing of it is kept on disk.

pg_waldump reads files that are named like segments, all from one folder. Each segment gets such a folder, with links
to itself and to what its last record goes on in, or with their decompressed bytes. The end that is asked for is the
one of that record: so every record is in the text of the segment in which it begins, and in no other.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread

from pgtrace.errors import PgtraceError
from pgtrace.ingest.pgprograms import given_program, programs
from pgtrace.ingest.sources import Source
from pgtrace.ingest.walsegments import (
    LONG_BYTES,
    NEEDS_NEXT,
    STILL_WRITTEN,
    VERSIONS,
    WHOLE,
    WalFiles,
    WalSegment,
    begins_record,
    is_page,
)
from pgtrace.units import lsn_text

_ERROR = re.compile(r"^[^:\n]+: (?:error|fatal): (?P<words>.*)$", re.M)
_STOPPED = re.compile(r"error in WAL record at (?P<lsn>[0-9A-F]+/[0-9A-F]+): (?P<why>.*)")
_NO_RECORD = "could not find a valid record after"
_LSN = re.compile(r"\b([0-9A-F]+)/([0-9A-F]+)\b")
_IN_SEGMENT = re.compile(r"segment [0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8}).*offset (\d+)")
#: how much of a text waits for its reader, at most, is so many pieces
_PIECE_BYTES = 1_048_576
_PIECES = 32
#: texts that are made ahead of their reader, at most
_AHEAD = 4


class Texts:
    """Opens the text of a segment, and begins the ones behind it in a plan, so that they are made at the same time.

    ``given`` are programs or folders that are looked at before those on PATH. Raises UsageError for one that is not
    there.
    """

    def __init__(self, sources: Sequence[Source], given: Sequence[str] = (), at_once: int = 1):
        self.files = WalFiles(sources, self._open)
        self._given = [given_program(path) for path in given]
        self._programs: dict[int, str] | None = None
        self._window = max(1, min(at_once, _AHEAD))
        self._plan: deque[WalSegment] = deque()
        self._begun: dict[str, _Text] = {}

    def check(self, segment: WalSegment) -> None:
        """Raise PgtraceError where there is no pg_waldump for ``segment``, with what to do."""
        self._program(segment)

    def plan(self, segments: Sequence[WalSegment]) -> None:
        """Tell the order in which texts will be opened."""
        self._plan = deque(segments)

    def close(self) -> None:
        """End what was begun and not read."""
        for text in self._begun.values():
            text.close()

    def _open(self, segment: WalSegment) -> _Text:
        if segment in self._plan:
            while self._plan[0] != segment:
                self._plan.popleft()  # was left out
            self._plan.popleft()
        text = self._begun.pop(segment.label, None) or self._begin(segment)
        for following in list(self._plan)[: self._window - 1]:
            if following.label not in self._begun:
                self._begun[following.label] = self._begin(following)
        return text

    def _begin(self, segment: WalSegment) -> _Text:
        return _Text(self._program(segment), segment, self.files)

    def _program(self, segment: WalSegment) -> str:
        if self._programs is None:
            self._programs = programs(self._given)
        version, label = segment.version, segment.label
        if version is None:
            oldest, newest = min(VERSIONS.values()), max(VERSIONS.values())
            age = f"before {oldest}" if segment.header.magic < min(VERSIONS) else f"that is not known, after {newest}"
            raise PgtraceError(
                f"{label}: is WAL of a PostgreSQL {age} (page magic 0x{segment.header.magic:04X}): "
                "make the text with its own pg_waldump and ingest that"
            )
        if version in self._programs:
            return self._programs[version]
        there = ", ".join(f"{number} ({path})" for number, path in sorted(self._programs.items())) or "none"
        raise PgtraceError(
            f"{label}: is WAL of PostgreSQL {version}, and no pg_waldump of that version is here (found: {there}): "
            f"install the package postgresql-{version} or name the program with --pg-waldump; or make the text where "
            "there is one, pg_waldump SEGMENT > wal.txt, and ingest that"
        )


class _Text:
    """Text of one segment while a thread makes it: bounded memory. ``ending`` is known at the end."""

    def __init__(self, program: str, segment: WalSegment, files: WalFiles):
        self._program, self._segment, self._files = program, segment, files
        self.ending: str | None = None
        self._changed = Condition()
        self._pieces: deque[bytes] = deque()
        self._failure: Exception | None = None
        self._is_done = self._is_closed = False
        self._thread = Thread(target=self._run, name=f"pg_waldump {segment.name}", daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_done)
            if not self._pieces:
                if self._failure is not None:
                    raise self._failure
                return b""
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
            self._changed.notify_all()
            return piece[:size]

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._pieces.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            with TemporaryDirectory(prefix="pgtrace-wal-") as folder:
                failure = self._make(Path(folder))
        except Exception as error:  # whatever it is, the reader is to hear of it
            failure = error
        with self._changed:
            self._failure, self._is_done = failure, True
            self._changed.notify_all()

    def _make(self, folder: Path) -> PgtraceError | None:
        """Make the text; what is wrong with the segment, if anything is."""
        segment = self._segment
        problem = _place(segment, folder / segment.name)
        begin = segment.header.continued_to
        if begin >= segment.end:
            self.ending = WHOLE  # a record fills it that began before it
            return problem
        parts = self._continuation(folder)
        end = parts[0].header.continued_to if parts else segment.end
        command = [self._program, "-p", str(folder), "-t", str(segment.timeline)]
        command += ["-s", lsn_text(segment.start), "-e", lsn_text(end)]
        said = self._dump(command, folder / "stderr")
        if said is None:
            self.ending = WHOLE if parts else NEEDS_NEXT
            return problem
        if self._is_closed or problem is not None:
            return problem
        at, why = _stop(said, segment)
        if at is None:
            return PgtraceError(f"{segment.label}: pg_waldump cannot read it: {why}")
        self.ending = NEEDS_NEXT if at >= segment.end or _is_full(segment, folder) else None
        if not _goes_on([segment, *parts], at, folder):
            return None  # the end of what the server wrote
        # the server may have written that since; but then pg_waldump comes further now
        again = subprocess.run(  # noqa: S603  the same as before
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(), text=True, check=False
        )
        if again.returncode == 0 or _stop(again.stderr, segment)[0] != at:
            self.ending = STILL_WRITTEN
            return None
        return PgtraceError(
            f"{segment.label}: cannot be read on from {lsn_text(at)} ({why}): what stands before is in the lake; "
            "take another copy of the segment, if there is one, and ingest that"
        )

    def _continuation(self, folder: Path) -> list[WalSegment]:
        """The segments that the last record goes on in, put in place; none where one of them is not there."""
        parts: list[WalSegment] = []
        last = self._segment
        while (following := self._files.following(last)) is not None:
            parts.append(following)
            end = parts[0].header.continued_to
            name = f"{self._segment.timeline:08X}{following.name[8:]}"
            _place(following, folder / name, min(end, following.end) - following.start)
            if end <= following.end:
                return parts
            last = following
        return []

    def _dump(self, command: Sequence[str], stderr: Path) -> str | None:
        """Run pg_waldump and hand on its text; what it said where it did not come to the end."""
        with (
            stderr.open("wb") as errors,
            subprocess.Popen(  # noqa: S603  a program that is named or installed
                command, stdout=subprocess.PIPE, stderr=errors, env=_environment(), pipesize=_PIECE_BYTES
            ) as process,
        ):
            assert process.stdout is not None
            while piece := os.read(process.stdout.fileno(), _PIECE_BYTES):
                with self._changed:
                    self._changed.wait_for(lambda: len(self._pieces) < _PIECES or self._is_closed)
                    if self._is_closed:
                        process.kill()
                        break
                    self._pieces.append(piece)
                    self._changed.notify_all()
        if process.returncode == 0:
            return None
        return stderr.read_text(errors="replace") or f"exit code {process.returncode}"


def _environment() -> dict[str, str]:
    return {**os.environ, "TZ": "UTC", "LC_ALL": "C"}


def _stop(said: str, segment: WalSegment) -> tuple[int | None, str]:
    """Where pg_waldump could not go on, None where it did not begin, and why."""
    words = ([said, *_ERROR.findall(said)])[-1].strip()
    if _NO_RECORD in words:
        return segment.header.continued_to, words
    match = _STOPPED.search(words)
    if match is None:
        return None, words
    if place := _IN_SEGMENT.search(words):
        log, number, offset = int(place[1], 16), int(place[2], 16), int(place[3])
        return (log << 32) + number * segment.header.segment_bytes + offset, match["why"]
    return max((int(log, 16) << 32) + int(low, 16) for log, low in _LSN.findall(words)), match["why"]


def _place(segment: WalSegment, to: Path, size: int | None = None) -> PgtraceError | None:
    """Put the segment, or the first ``size`` bytes of it, where pg_waldump finds it; what is wrong with it, if that is.

    A segment that is not compressed is linked to.
    """
    whole = segment.header.segment_bytes
    is_file = not (segment.compression or segment.is_pipe or segment.member_offset is not None)
    if is_file and segment.path is not None and segment.path.stat().st_size == whole:
        to.symlink_to(segment.path.resolve())
        return None
    missing = whole if size is None else min(whole, size)
    problem: PgtraceError | None = None
    with segment.stored() as stored, to.open("wb") as file:
        try:
            while missing and (piece := stored.read(min(missing, _PIECE_BYTES))):
                file.write(piece)
                missing -= len(piece)
        except PgtraceError as error:
            problem = error
        file.truncate(whole)  # pg_waldump refuses a file that ends early; zeros end the WAL
    if missing and problem is None:
        return PgtraceError(
            f"{segment.label}: ends early, at {whole - missing} of {whole} bytes: copy it again in full and ingest it "
            "again; what it has was read"
        )
    return problem


def _is_full(segment: WalSegment, folder: Path) -> bool:
    """Whether the server wrote the segment to its end."""
    last = segment.end - segment.header.block_bytes
    with (folder / segment.name).open("rb", buffering=0) as file:
        file.seek(last - segment.start)
        return is_page(file.read(LONG_BYTES), last, segment.header)


def _goes_on(parts: Sequence[WalSegment], at: int, folder: Path) -> bool:
    """Whether records begin on pages behind the one of ``at``: then it was not the end of the WAL."""
    first = parts[0]
    if len(parts) > 1 and at < first.end:
        return True
    page_bytes = first.header.block_bytes
    for part in parts:
        with (folder / f"{first.name[:8]}{part.name[8:]}").open("rb", buffering=0) as file:
            behind = max(part.start, (at // page_bytes + 1) * page_bytes)
            for address in range(behind, part.end, page_bytes):
                file.seek(address - part.start)
                if begins_record(file.read(page_bytes), address, first.header):
                    return True
    return False
