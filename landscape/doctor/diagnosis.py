"""All checks over a store: of each surface, of each spectrum, then of what would be compared."""

from landscape.doctor import comparisons, spectra, surfaces
from landscape.doctor.comparisons import Contents
from landscape.doctor.finding import Finding
from landscape.store import Store


def diagnose(store: Store) -> list[Finding]:
    """Everything odd in a store, record by record, then what was compared with each other."""
    contents = Contents(
        {name: store.checkpoint(name) for name in store.names("checkpoints")},
        [store.surface(name) for name in store.names("surfaces")],
        [store.eigenpairs(name) for name in store.names("curvature")],
        [store.sharpness(name) for name in store.names("sharpness")],
    )
    found = [one for surface in contents.surfaces for check in surfaces.CHECKS for one in check(surface)]
    found += [one for pairs in contents.eigenpairs for check in spectra.CHECKS for one in check(pairs)]
    return found + [one for check in comparisons.CHECKS for one in check(contents)]
