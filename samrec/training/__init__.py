"""Training: one step, the loop around it, when to stop, and the folder a run lives in."""
