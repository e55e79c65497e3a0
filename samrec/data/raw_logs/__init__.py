"""Raw interaction logs of many formats, read in blocks into (user, item, time) with file order; needs polars."""
