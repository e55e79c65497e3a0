"""What both ends of one spectrum show."""

from collections.abc import Iterator

from landscape.doctor.finding import Finding
from landscape.records import Eigenpairs


def unsettled(pairs: Eigenpairs) -> Iterator[Finding]:
    """Eigenvalues whose residual is above the tolerance."""
    open_ends = {
        label: {"value": float(value), "residual": float(residual)}
        for label, value, residual, settled in zip(
            pairs.labels, pairs.values, pairs.residuals, pairs.converged, strict=True
        )
        if not settled
    }
    if open_ends:
        shown = ", ".join(f"{label} {one['value']:.3g} ± {one['residual']:.1g}" for label, one in open_ends.items())
        yield Finding(
            "eigenvalues not converged",
            f"curvature/{pairs.name}",
            f"not converged: {shown}; an eigenvalue lies within the bar, though perhaps not the outermost",
            open_ends,
            f"more products than {int(pairs.products.max(initial=0)):,} (--max-products), or a looser --tolerance",
        )


def negative(pairs: Eigenpairs) -> Iterator[Finding]:
    """A lowest eigenvalue larger in size than the largest."""
    ends = dict(zip(pairs.labels, zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True), strict=True))
    if not ends.keys() >= {"lambda_max", "lambda_min"}:
        return
    (top, above), (bottom, below) = ends["lambda_max"], ends["lambda_min"]
    if -bottom - below > abs(top) + above:
        yield Finding(
            "largest eigenvalue in size is negative",
            f"curvature/{pairs.name}",
            f"lambda_min {bottom:.3g} is larger in size than lambda_max {top:.3g}: a saddle, not the bottom of a bowl",
            {"lambda_max": top, "lambda_min": bottom},
            "quote both ends by name; power iteration elsewhere would give this one as lambda_max. Training on lowers "
            "the loss along its eigenvector",
        )


CHECKS = (unsettled, negative)
