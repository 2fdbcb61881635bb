"""One family of errors; the command line prints each as a single line and never as a traceback."""


class PgtraceError(Exception):
    """Something the user can act on: the text names the file, the line where there is one, and what to do."""

    exit_code = 1


class UsageError(PgtraceError):
    """The call itself is wrong: an unknown name, a value that cannot be read, options that exclude each other."""

    exit_code = 2


class UnknownFormatError(PgtraceError):
    """No log format recognises the input, or the one that was asked for does not fit it."""


class TimeZoneError(PgtraceError):
    """The log prints a time zone abbreviation that does not say which zone is meant."""


class LakeError(PgtraceError):
    """The lake cannot be opened, or what it holds does not fit its ledger."""
