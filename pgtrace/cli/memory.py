"""Memory that a chunk of a log used is kept for the next one instead of being given back and asked for again.

A chunk takes a hundred megabytes for a tenth of a second; with the allocator's usual settings a tenth of the time of an
ingest went into page faults. Two arenas, because two or three threads allocate: more of them only hold more.
"""

from __future__ import annotations

import os


def keep_memory() -> None:
    """Set up Polars' allocator (jemalloc); to be called before Polars is imported. What the user has set stays."""
    settings = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2"
    os.environ.setdefault("_RJEM_MALLOC_CONF", settings)
