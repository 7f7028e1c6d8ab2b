"""Planted worlds: text, pairs and questions whose truth is known."""
