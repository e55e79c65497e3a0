"""The line about a surface that was not measured point by point: from how many points, and how far off it may be."""

from collections.abc import Mapping
from typing import Any

from landscape.plots.scale import short


def approximation_note(approximation: Mapping[str, Any], value: str = "loss") -> str:
    """What a caption says; empty for a surface measured at every point, as asked."""
    method = approximation.get("method")
    if method == "exact":
        return f"measured at every point ({approximation['why']})"
    if method != "chebyshev":
        return ""
    degrees = " × ".join(str(degree) for degree in approximation["degrees"])
    start = f"Chebyshev of degree {degrees} from {approximation['points']} points"
    error = approximation["errors"].get(value)
    if error is None:
        return start
    near = approximation.get("near_error")
    share = f", {short(100 * near, 2)} % of the rise near the centre" if near is not None and value == "loss" else ""
    return f"{start}, error about {short(error, 2)}{share}"
