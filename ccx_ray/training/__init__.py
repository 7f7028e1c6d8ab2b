"""The model, the training step, checkpoints, and the Ray Train trainer."""
