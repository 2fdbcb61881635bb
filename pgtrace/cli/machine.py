"""How the libraries below share this machine with an ingest, which brings its own threads.

A chunk of a log takes a hundred megabytes for a tenth of a second: with the allocator's usual settings a tenth of the
time went into page faults. numpy's own threads only wait, and cost time in doing so.
"""

from __future__ import annotations

import os

_SETTINGS = {
    # Polars' allocator keeps what it freed for a second; two arenas, as more of them only hold more
    "_RJEM_MALLOC_CONF": "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2",
    "OPENBLAS_NUM_THREADS": "1",
}


def share_machine() -> None:
    """Set the libraries up; to be called before they are imported. What the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
