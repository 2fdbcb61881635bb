"""The lake: layout on disk, ledger of sources and parts, catalog of DuckDB views, upkeep."""

from pgtrace.lake.batch import OPEN, TAIL, Batch
from pgtrace.lake.catalog import SOURCE
from pgtrace.lake.lake import Lake, Writer
from pgtrace.lake.ledger import Ledger, SourceState

__all__ = ["OPEN", "SOURCE", "TAIL", "Batch", "Lake", "Ledger", "SourceState", "Writer"]
