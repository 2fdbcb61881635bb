"""What an ingest tells while it runs, and to whom."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What an ingest tells while it runs."""

    def start(self, total_bytes: int | None, sources: int) -> None:
        """So many bytes (on disk) in so many sources are to be read."""

    def advance(self, label: str, size: int) -> None:
        """``size`` more bytes of source ``label`` are done."""

    def message(self, text: str) -> None:
        """Something a person wants to know while waiting."""


class Silent:
    """Nothing at all."""

    def start(self, total_bytes: int | None, sources: int) -> None:
        """Say nothing."""

    def advance(self, label: str, size: int) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""
