"""Optimizers: Adam as it is, and sharpness-aware minimization around any base optimizer."""
