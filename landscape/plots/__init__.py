"""Figures from a store: `prepare` turns it into plain data, `matplotlib_figures` and `plotly_figures` draw the data.

The three are loaded when first used, so `landscape.plots.prepare` needs no import of its own.
"""

import lazy_loader  # type: ignore[import-untyped]

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["matplotlib_figures", "plotly_figures", "prepare"]
)
