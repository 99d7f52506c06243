"""Alembic's migrations; `versions/` holds one file for each change of the schema."""
