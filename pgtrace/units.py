"""Sizes, durations and LSNs in PostgreSQL's own notation."""

import re

from pgtrace.errors import UsageError


class Lsn(int):
    """A position in the WAL, as the 64-bit integer that PostgreSQL prints as ``%X/%X``."""


_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB)?\s*")
_SIZE_UNITS = {"B": 1, "kB": 1024, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def lsn_parse(text: str) -> Lsn:
    """Read ``0/16B3748`` (``%X/%X``, padded or not). Raises UsageError for anything else."""
    match = _LSN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not an LSN: write it as PostgreSQL does, for example 0/16B3748")
    return Lsn((int(match[1], 16) << 32) | int(match[2], 16))


def lsn_text(value: int) -> str:
    """The text PostgreSQL prints for an LSN (before version 19: without padding)."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def size_parse(text: str) -> int:
    """Bytes in ``16MB``, ``512 kB`` or a bare number of bytes; units are powers of 1024 as in postgresql.conf."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a size: write a number and B, kB, MB, GB or TB")
    return int(float(match[1]) * _SIZE_UNITS[match[2] or "B"])


def size_text(size: float) -> str:
    """A size for people: ``512 B``, ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
