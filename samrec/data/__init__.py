"""From a file of interactions to what a model trains on: read, split, draw negatives; NumPy arrays throughout."""
