"""What is new in WAL segments, what joins them to the ones before, and which of them are missing."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import pairwise

from pgtrace.errors import UnknownFormatError
from pgtrace.ingest.carry import from_bytes
from pgtrace.ingest.identity import head_hash, source_id
from pgtrace.ingest.results import SourceResult
from pgtrace.ingest.run import OpenEnds, open_ends_of
from pgtrace.ingest.sources import Source
from pgtrace.ingest.walsegments import NEEDS_NEXT, WAL_FORMAT, WHOLE, WalFiles, WalSegment, is_beside
from pgtrace.lake import Ledger, SourceState
from pgtrace.logformat import Reading


def without_others(sources: Sequence[Source]) -> list[Source]:
    """Without what lies beside WAL in its folder: histories, labels of backups, what the archiver notes."""
    return [source for source in sources if source.is_named or not is_beside(source)]


def reading_of(segment: WalSegment, log_format: str) -> Reading:
    """How a segment is read. Raises UnknownFormatError where another format was asked for."""
    if log_format not in ("auto", WAL_FORMAT):
        raise UnknownFormatError(
            f"{segment.label}: is a WAL segment and no {log_format}: leave out --log-format to have it detected"
        )
    return Reading(WAL_FORMAT, timeline=segment.timeline)


def may_have_news(state: SourceState) -> bool:
    """Whether there may be more to read of a segment although its file is as it was."""
    return state.wal_end == NEEDS_NEXT


def has_news(segment: WalSegment, state: SourceState, files: WalFiles) -> bool:
    """Whether there is more to read of a segment that was read before, or of another copy of it."""
    if state.wal_end == WHOLE:
        return False
    return state.wal_end != NEEDS_NEXT or files.following(segment) is not None


class Segments:
    """The segments of one ingest, in the order in which they are read: what joins each to the one before."""

    def __init__(self, ledger: Ledger, server: str, segments: Sequence[WalSegment], known: Sequence[SourceState]):
        self._ledger, self._server = ledger, server
        self._gaps = gaps(segments, {state.head_hash for state in known})
        self._waited_for: set[str] = set()

    def ends(self, segment: WalSegment, state: SourceState, is_known: bool) -> OpenEnds | None:
        """What the segment goes on from: what it left open itself when it was read last, or what the one before did.

        None where it has to wait for the one before, which the server still wrote when it was read: what that one
        leaves open is to be joined with this one.
        """
        address = segment.start - segment.header.segment_bytes
        # the timeline of its first page is the one of the segment before it
        previous_id = source_id(self._server, segment.identity_at(segment.header.timeline, address))
        if previous_id in self._waited_for:
            self._waited_for.add(state.source_id)
            return None
        if is_known and state.lines:
            return open_ends_of(state)
        while (previous := self._ledger.source(previous_id)) is not None and previous.wal_end == WHOLE:
            if previous.lines:
                return OpenEnds(from_bytes(previous.carry_after_tail), previous.source_id)
            # no record begins in it: it is a part of one
            address -= segment.header.segment_bytes
            previous_id = source_id(self._server, segment.identity_at(segment.header.timeline, address))
        return OpenEnds()

    def note(self, segment: WalSegment, state: SourceState, result: SourceResult) -> None:
        """Look at what came of reading ``segment``."""
        now = self._ledger.source(state.source_id)
        if result.status != "failed" and now is not None and now.wal_end != WHOLE:
            self._waited_for.add(state.source_id)
        result.message = result.message or self._gaps.get(segment.label)


def gaps(segments: Sequence[WalSegment], known: Set[str]) -> dict[str, str]:
    """Which segments are missing between those at hand, by the label of the one in front.

    ``known`` are the hashes of those that were read before.
    """
    found: dict[str, str] = {}
    order = sorted(segments, key=lambda segment: (segment.header.system_id, segment.timeline, segment.start))
    for segment, behind in pairwise(order):
        is_one_log = (segment.header.system_id, segment.timeline) == (behind.header.system_id, behind.timeline)
        if (
            is_one_log
            and behind.start > segment.end
            and head_hash(segment.identity_at(segment.timeline, segment.end)) not in known
        ):
            missing = (behind.start - segment.end) // segment.header.segment_bytes
            found[segment.label] = (
                f"{segment.label}: WAL is missing behind it: {segment.next_name} "
                f"{f'and {missing - 1} more are' if missing > 1 else 'is'} not there; the next one is {behind.name}"
            )
    return found
