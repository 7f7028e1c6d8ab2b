"""The audit of what a study trains on: every document, every pair, every row; nothing sampled."""
