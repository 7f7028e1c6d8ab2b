"""What is measured: accuracy, transfer, proficiency, frequency and exposure effects."""
