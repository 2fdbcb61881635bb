"""One log format per file: bytes into the one record frame."""
