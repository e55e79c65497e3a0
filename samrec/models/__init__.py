"""The models: one trunk, one file a method."""
