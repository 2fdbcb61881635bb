"""Memory that was used once is kept for the next chunk instead of being given back and asked for again.

A chunk of a log takes some hundred megabytes for a tenth of a second; with the allocators' usual settings a sixth of
the time of an ingest went into page faults.
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 512 * 1024 * 1024


def keep_memory() -> None:
    """To be called before Polars is imported; what the user has set stays. No effect where there is no glibc."""
    # Polars' jemalloc: ten seconds until unused pages go back, not half a second
    os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:-1")
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
