"""A campaign as a table: a row per target, as CSV, JSON lines, Parquet or a SQLite file."""
