"""One message type per file: records into the rows of one table."""
