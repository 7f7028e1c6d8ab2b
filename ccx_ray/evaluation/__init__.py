"""Probes, scoring, and the Ray Tune scheduler."""
