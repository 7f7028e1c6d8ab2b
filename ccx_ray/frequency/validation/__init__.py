"""How good the estimate of frequencies is: recall, agreement, planted facts, people's review."""
