"""Judges: does a document hold the knowledge of a question?"""
