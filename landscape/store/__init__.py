"""One HDF5 file a study: `Store`, and the parts it is made of.

`schema` and `spectra` say what a record looks like on disk, `columns` and `points` how arrays are written, `places`
where they lie, `files` how a file is opened, locked and replaced, `refusals` what may not be put into one, `reading`
and `display` what a reader sees. Nothing here imports torch.
"""

from landscape.store.store import Store

__all__ = ["Store"]
