"""Reports: named queries written to files."""

from __future__ import annotations

from pgtrace.report.write import Report, Wanted, Written, write_report

__all__ = ["Report", "Wanted", "Written", "write_report"]
