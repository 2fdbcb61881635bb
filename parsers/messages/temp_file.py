"""Temporary files, logged when they are deleted (log_temp_files; src/backend/storage/file/fd.c)."""

from pgtrace.message import MessageType
from pgtrace.schema import Column

MESSAGE = MessageType(
    table="temp_file",
    one_row_per="temporary file",
    process="backend",
    starts_with=("temporary file: ",),
    patterns=(r'^temporary file: path "(?P<path>[^"]+)", size (?P<size_bytes>\d+)$',),
    columns={
        "query_id": Column("query identifier (compute_query_id), 0 is none", int),
        "path": Column("the file, below the data directory"),
        "size_bytes": Column("its size when it was deleted", int, "bytes"),
        "statement": Column("the SQL that made it, as logged"),
        "fingerprint": Column("shape of that SQL (see table query)"),
    },
)
