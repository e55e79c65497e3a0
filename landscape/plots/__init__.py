"""Figures from a store: `prepare` turns it into plain data, `matplotlib_figures` and `plotly_figures` draw the data."""
