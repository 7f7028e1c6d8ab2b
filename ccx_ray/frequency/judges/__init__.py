"""Who decides whether a document holds the knowledge of a question."""
