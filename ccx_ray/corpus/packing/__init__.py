"""Training streams: which documents and pairs stand in which rows, in which order."""
