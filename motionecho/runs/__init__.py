"""A run directory: its layout, records, tables, keys, and whole files on any fsspec URL."""
