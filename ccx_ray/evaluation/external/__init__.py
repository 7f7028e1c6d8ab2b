"""Models and probes from elsewhere."""
