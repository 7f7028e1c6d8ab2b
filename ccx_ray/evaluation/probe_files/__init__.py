"""Probe files of every layout, read as the questions that ``evaluation.probes`` describes."""
