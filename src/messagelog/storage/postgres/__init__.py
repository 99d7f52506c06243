"""The journal in PostgreSQL: connections, pipelines, group commit."""
