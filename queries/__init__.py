"""The named queries, one .sql file each; reached through pgtrace.query."""
