"""Raw text of every format, read as a stream of records."""
