"""Times as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pgtrace.errors import UsageError

_RELATIVE = re.compile(r"([+-][0-9]+(?:\.[0-9]+)?)\s*(s|sec|min|m|h|d|w)")
_SECONDS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """A time in UTC: ``2026-11-24``, ``2026-11-24 14:05``, ``2026-11-24T14:05:00+01:00``, ``now``, ``today``,
    ``yesterday``, ``-1d``, ``-90min`` (before ``now``). Without an offset it is UTC. Raises UsageError.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    clean = text.strip().lower()
    if clean in words:
        return words[clean]
    relative = _RELATIVE.fullmatch(clean)
    try:
        if relative is not None:
            return now + timedelta(seconds=float(relative[1]) * _SECONDS[relative[2]])
        time = datetime.fromisoformat(text.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is not a time: write 2026-11-24, '2026-11-24 14:05', -1d, -90min, now, today or yesterday"
        ) from None
