"""Pages that open from disk, made of figures, charts and a table of rows."""
