"""Experiments on finished runs: compare them by scores, curvature, sharpness and surfaces; tables and figures of it."""
