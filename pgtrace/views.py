"""Views over the tables."""
from pgtrace.schema import Table
VIEWS: dict[str, str] = {}
VIEW_TABLES: dict[str, Table] = {}
