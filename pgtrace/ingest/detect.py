"""Which log format a source has, and how it is to be read."""

from __future__ import annotations

from datetime import datetime

from pgtrace import registry
from pgtrace.errors import TimeZoneError, UnknownFormatError, UsageError
from pgtrace.ingest.unknown import UNKNOWN
from pgtrace.logformat import Reading

#: how much of a source is looked at
HEAD_BYTES = 256 * 1024
_SAMPLE_BYTES = 16 * 1024


def detect(head: bytes, label: str, log_format: str, prefix: str | None, timezone: str | None) -> Reading:
    """How to read the source that begins with ``head``: by what it holds, never by its name.

    What no format knows is read as ``unknown``: every line is kept as unparsed. Raises UnknownFormatError where a
    format was asked for and does not fit, or fits but carries too little; TimeZoneError where a zone must be given.
    """
    formats = registry.log_formats()
    if log_format not in ("auto", *formats):
        raise UsageError(f"unknown log format '{log_format}': choose auto, {', '.join(formats)}")
    asked = Reading("auto", prefix=prefix, timezone=timezone)
    wanted = formats.values() if log_format == "auto" else [formats[log_format]]
    for candidate in wanted:
        try:
            reading = candidate.sniff(head, asked)
        except (UnknownFormatError, TimeZoneError) as error:
            raise type(error)(f"{label}: {error}") from None
        if reading is not None:
            return reading
    if log_format != "auto":
        raise UnknownFormatError(
            f"{label}: does not look like a {log_format}: leave out --log-format to have it detected"
        )
    return Reading(UNKNOWN.name, timezone=timezone)


def first_time(head: bytes, reading: Reading) -> datetime | None:
    """The first time in the source, for putting the files of one server in order."""
    if reading.log_format == UNKNOWN.name:
        return None
    sample = head[:_SAMPLE_BYTES]
    sample = sample[: sample.rfind(b"\n") + 1] or sample
    log_format = registry.log_formats()[reading.log_format]
    if log_format.tables:
        return None
    records = log_format.read(sample, reading, 1).records
    return records["logged_at"].min() if records.height else None  # type: ignore[return-value]


def position(head: bytes, reading: Reading) -> int:
    """Where the source stands among others of a format whose order is not that of time; 0 for all others."""
    log_format = registry.log_formats().get(reading.log_format)
    if log_format is None or log_format.position is None:
        return 0
    return log_format.position(head, reading) or 0
