"""Statistics over what a lake holds: which background events go together with slow queries, and how sure that is."""

from __future__ import annotations

from pgtrace.analysis.causes import Causes, find_causes

__all__ = ["Causes", "find_causes"]
