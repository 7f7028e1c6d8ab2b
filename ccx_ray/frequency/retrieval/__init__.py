"""Searching a corpus: FAISS indexes of passages, BM25, and both rankings fused."""
