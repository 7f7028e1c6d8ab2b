"""Running a graph of steps: fingerprints, markers, lock, resume, progress, the Ray cluster."""
