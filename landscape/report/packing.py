"""Figures and the plot library as text small enough to travel inside a page: float32, each array once, gzip, base64.

The page unpacks them with the browser's own DecompressionStream. plotly's 4.8 MB become about 2.
"""

import base64
import functools
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE = "$array"  # {"$array": 3} stands for the fourth array of the pack


@functools.cache
def plot_library() -> str:
    """plotly.js, packed."""
    from plotly.offline import get_plotlyjs

    return packed(get_plotlyjs())


def packed(text: str) -> str:
    """Text as base64 of its gzip. The same text always packs to the same characters."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def pack_figures(figures: Sequence[Any]) -> str:
    """Plotly figures in one pack: layouts and traces as JSON, numbers as float32, equal arrays kept once."""
    arrays: dict[bytes, int] = {}
    kept: list[dict[str, Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items() if entry is not None}
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size:
            return reference(value)
        if isinstance(value, np.ndarray):
            return plain(value.tolist())
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        if isinstance(value, np.generic):
            return plain(value.item())
        if isinstance(value, float) and not np.isfinite(value):
            return None
        return value

    def reference(array: NDArray[Any]) -> dict[str, int]:
        values = np.ascontiguousarray(array, dtype="<f4")
        content = values.tobytes() + str(values.shape).encode()
        if content not in arrays:
            arrays[content] = len(kept)
            entry = {"dtype": "f4", "bdata": base64.b64encode(values.tobytes()).decode("ascii")}
            if values.ndim > 1:
                entry["shape"] = ", ".join(map(str, values.shape))
            kept.append(entry)
        return {REFERENCE: arrays[content]}

    drawn = [plain(_bare(figure)) for figure in figures]
    return packed(json.dumps({"arrays": kept, "figures": drawn}, separators=(",", ":"), allow_nan=False))


def _bare(figure: Any) -> dict[str, Any]:
    """Data and layout without what the page decides: sizes, titles, notes, template."""
    from plotly.basedatatypes import BaseFigure

    assert isinstance(figure, BaseFigure)
    content = {"data": [trace.to_plotly_json() for trace in figure.data], "layout": figure.layout.to_plotly_json()}
    layout = content["layout"]
    for key in ("template", "width", "height", "margin", "font"):
        layout.pop(key, None)
    layout["annotations"] = [
        note for note in layout.get("annotations", ()) if (note.get("xref"), note.get("yref")) != ("paper", "paper")
    ]
    return content
