"""Text in, training stream out."""
