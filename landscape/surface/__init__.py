"""The loss on a line or a plane through a checkpoint: `evaluate` measures points, `resume` fills a store."""
