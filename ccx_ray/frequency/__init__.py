"""How often knowledge occurs in a corpus: retrieval, judges, density."""
