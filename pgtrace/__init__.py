"""Which PostgreSQL queries got slow, which background process was responsible, and how sure are we?

>>> import pgtrace
>>> lake = pgtrace.open("lake")
>>> lake.ingest(["postgresql.log"])
>>> lake.query("slow_queries").pl()
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgtrace.api import LakeHandle

__all__ = ["open"]


def open(path: str | Path = "lake") -> LakeHandle:  # noqa: A001
    """Open the lake at ``path``; it is made where there is none."""
    from pgtrace.api import open_lake

    return open_lake(path)
