"""Sequential recommenders, SAM, full ranking, and paired comparison of checkpoints.

Names are loaded when first used, so importing this package costs little and imports no torch; `__init__.pyi`
lists them.
"""

import lazy_loader  # type: ignore[import-untyped]

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
