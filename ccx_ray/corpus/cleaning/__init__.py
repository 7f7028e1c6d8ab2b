"""Script isolation, language identification, and the removal of duplicates."""
