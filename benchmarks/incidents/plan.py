"""The set of runs: each cause once with everything logged, then as one long burst, then as other logs tell it."""

from __future__ import annotations

from .causes import CAUSES
from .stage import Run

_INCIDENTS = tuple(name for name, cause in CAUSES.items() if cause.expected)

PLAN = (
    *(Run(name, "repeated") for name in _INCIDENTS),
    Run("archive-failure", "control"),
    Run("idle", "control"),
    Run("background", "control"),
    *(Run(name, "single") for name in _INCIDENTS),
    Run("checkpoint-storm", "repeated", log="csv"),
    Run("vacuum", "repeated", log="csv"),
    Run("connection-storm", "repeated", logged_from_ms=1),
    Run("archive-failure", "control", log="csv"),
    Run("idle", "control", log="whole-seconds"),
    Run("seq-scans", "repeated", log="whole-seconds"),
    Run("temp-files", "repeated", logged_from_ms=1),
    Run("table-lock", "repeated", log="csv", protocol="prepared"),
    Run("archive-failure", "control", logged_from_ms=5),
    Run("idle", "control", log="csv"),
    Run("forced-checkpoint", "repeated", logged_from_ms=5),
    Run("idle", "control", protocol="prepared"),
    Run("idle", "control", logged_from_ms=5),
    Run("archive-failure", "control", log="whole-seconds"),
    Run("background", "control", log="csv"),
)
