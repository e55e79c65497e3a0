"""Directions in weight space: drawn from a seed, between checkpoints, along eigenvectors, each able to be drawn again.

`gaussian` draws from a seed, `between` combines checkpoints, `eigenvectors` takes ends of the Hessian's spectrum, and
`redraw` gives the direction of any record, or refuses. What they share is in `evidence`.
"""

from landscape.directions.gaussian import draw_direction, draw_plane
from landscape.directions.redraw import redraw

__all__ = ["draw_direction", "draw_plane", "redraw"]
