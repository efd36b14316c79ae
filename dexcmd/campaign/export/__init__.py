"""A campaign as a table, with a row per target: CSV, JSON lines, Parquet or a SQLite file."""
