"""Exact counts over a corpus: where any string of the normalised text stands, and how many
documents hold any term."""
