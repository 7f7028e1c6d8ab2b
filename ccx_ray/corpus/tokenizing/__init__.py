"""The tokenizer, and the text as token ids."""
