"""Intervals, tests, correlations and regressions."""
