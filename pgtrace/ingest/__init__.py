"""The pipeline: sources → chunks → records → tables → lake."""

from pgtrace.ingest.ingest import ingest
from pgtrace.ingest.results import SourceResult, results_frame

__all__ = ["SourceResult", "ingest", "results_frame"]
