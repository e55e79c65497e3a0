"""Sequential recommenders, SAM, full ranking, and paired comparison of checkpoints."""
