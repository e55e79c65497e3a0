"""One self-contained HTML page of a study: surfaces to turn, tables to sort, the verdict in words with its uncertainty.

Reads the store alone and imports no torch.
"""

import lazy_loader  # type: ignore[import-untyped]

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"write": ["write_report"]})
