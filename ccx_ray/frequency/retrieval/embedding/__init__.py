"""Texts as vectors whose inner product is their likeness."""
