"""Judges: does a document hold the knowledge of a question?"""

from pathlib import Path

SHIPPED_PROMPT = Path(__file__).with_name("judge_prompt.txt")
