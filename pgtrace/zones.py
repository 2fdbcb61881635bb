"""Time zones by their IANA names."""

from __future__ import annotations

import difflib
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from pgtrace.errors import UsageError


@cache
def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name such as Europe/Berlin. Raises UsageError naming the nearest ones."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of the database, an absolute path, a name it does not hold
        pass
    known = {zone.lower(): zone for zone in available_timezones()}
    ends = {zone.rsplit("/", 1)[-1]: zone for zone in sorted(known)}
    wanted = name.lower().replace(" ", "_")
    near = difflib.get_close_matches(wanted, known, n=3) or [
        ends[end] for end in difflib.get_close_matches(wanted, ends, n=3)
    ]
    hint = f"did you mean {', '.join(known[zone] for zone in near)}?" if near else "for example Europe/Berlin or UTC"
    raise UsageError(f"'{name}' is not an IANA time zone: {hint}")
