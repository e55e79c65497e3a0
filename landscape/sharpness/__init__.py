"""How much the loss rises around a checkpoint: along the worst step, on average, and both in relative coordinates."""
