"""Validation of the estimate: recall, agreement, planted facts, people's review."""
