"""A finished study as one folder that others can build on; ``jobs/export.py``."""
