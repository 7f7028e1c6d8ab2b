"""Transfer, statistics, figures, and the report."""
