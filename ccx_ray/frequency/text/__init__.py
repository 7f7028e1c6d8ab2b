"""Texts and questions as this stage reads them: normal form, terms, passages, rows."""
