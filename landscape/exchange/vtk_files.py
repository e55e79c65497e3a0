"""VTK for ParaView and PyVista: a surface as a rectilinear grid (.vtr), every value and the status on its points.

The grid is flat, alpha along x and beta along y: coordinates and values are the store's own float64, bit for bit; NaN
marks what is not measured (status 0) or not finite (status 2). ParaView's filter "Warp By Scalar" makes the relief.
Lost: directions, checkpoint, provenance. Written by PyEVTK, from the extra `vtk`.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.records import Surface


def surface_vtk(surface: Surface) -> bytes:
    """The content of a .vtr file.

    Raises:
        InvalidArgument: PyEVTK is not installed.
    """
    try:
        from pyevtk.hl import gridToVTK
    except ModuleNotFoundError as error:
        raise InvalidArgument(
            "expected PyEVTK to write VTK, found none: install the extra vtk, as in pip install '.[vtk]'"
        ) from error
    beta = np.zeros(1) if surface.beta is None else surface.beta
    shape = (len(surface.alpha), len(beta), 1)
    every: dict[str, NDArray[Any]] = {**surface.values, "status": surface.status}
    arrays = {key: np.ascontiguousarray(array.reshape(shape)) for key, array in every.items()}
    with tempfile.TemporaryDirectory() as folder:
        name = gridToVTK(f"{folder}/surface", surface.alpha, beta, np.zeros(1), pointData=arrays)
        return Path(name).read_bytes()
