"""Optimizers: Adam, AdamW and SGD as they are, and sharpness-aware minimization around any of them."""
