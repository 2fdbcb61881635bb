"""Who a source is: it is known by how its text begins, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from pgtrace.ingest.sources import Source
from pgtrace.lake import SourceState
from pgtrace.logformat import Reading

#: so much of a source's text tells it from every other
_IDENTITY_BYTES = 4096


def head_hash(head: bytes) -> str:
    """What a beginning is compared by."""
    return hashlib.sha256(head).hexdigest()


def recognised(head: bytes, known: Sequence[SourceState]) -> SourceState | None:
    """The source whose text begins like this, whatever it is called now; the longest beginning counts."""
    hashes: dict[int, str] = {}
    for state in sorted(known, key=lambda state: -state.head_length):
        if state.head_length > len(head):
            continue
        if state.head_length not in hashes:
            hashes[state.head_length] = head_hash(head[: state.head_length])
        if hashes[state.head_length] == state.head_hash:
            return state
    return None


def source_id(server: str, identity: bytes) -> str:
    """What the source of this server that begins with ``identity`` is called in the lake."""
    return hashlib.sha256(server.encode() + b"\0" + identity).hexdigest()[:16]


def new_state(server: str, source: Source, head: bytes, reading: Reading) -> SourceState:
    """A source that was not known, nothing of it read yet."""
    identity = head[:_IDENTITY_BYTES]
    state = SourceState(
        source_id=source_id(server, identity),
        server=server,
        path=source.label,
        head_length=len(identity),
        head_hash=head_hash(identity),
        log_format=reading.log_format,
        prefix=reading.prefix,
        timezone=reading.timezone,
        line_end=reading.line_end.decode(),
        columns=reading.columns,
    )
    return seen(state, source)


def seen(state: SourceState, source: Source) -> SourceState:
    """The state with the file as it is now."""
    return replace(
        state,
        path=source.label,
        size_bytes=source.size_bytes,
        mtime_ns=source.mtime_ns,
        device=source.device,
        inode=source.inode,
    )
