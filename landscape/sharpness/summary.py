"""Every sharpness measure of one checkpoint in one report, each raw value beside a scale-invariant one.

Raw values are not comparable between checkpoints whose ||w|| differs; the companions are: the same measures in relative
coordinates (T = |w|), and lambda_max ||w||^2 where eigenpairs are given.
"""

from collections.abc import Sequence

from landscape.describe import provenance
from landscape.errors import InvalidArgument
from landscape.objective import LossValue, Objective, check_frozen
from landscape.records import Eigenpairs, SharpnessMeasure, SharpnessReport
from landscape.sharpness.average_case import average_case_sharpness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.spectra_measured import weight_norm
from landscape.sharpness.spectral import companions_of

RHOS = (0.01, 0.1, 1.0)
RELATIVE_RHOS = (0.1, 0.5, 2.0)  # ASAM's scale; .5 to 2 is what it is trained with (Kwon et al. 2021)
SIGMAS = (0.005, 0.01)
RELATIVE_SIGMAS = (0.05, 0.1)


def sharpness_report(
    objective: Objective,
    *,
    name: str,
    checkpoint: str,
    rhos: Sequence[float] = RHOS,
    relative_rhos: Sequence[float] = RELATIVE_RHOS,
    sigmas: Sequence[float] = SIGMAS,
    relative_sigmas: Sequence[float] = RELATIVE_SIGMAS,
    pairs: int = 20,
    seed: int = 0,
    eigenpairs: Eigenpairs | None = None,
    centre: LossValue | None = None,
    command: str = "",
) -> SharpnessReport:
    """SAM and average-case sharpness, absolute and relative, and lambda_max ||w||^2 if its eigenpair is known.

    Costs two gradients, a loss for each rho, two losses a pair for each sigma, and the losses at the centre.

    Args:
        objective: the frozen loss.
        name: of the record.
        checkpoint: name of the checkpoint the objective stands on.
        rhos: lengths of SAM's step; none leaves the measure out, here and below.
        relative_rhos: the same in relative coordinates.
        sigmas: standard deviations of the noise.
        relative_sigmas: the same relative to |w|.
        pairs: antithetic pairs for each sigma.
        seed: of the noise.
        eigenpairs: of the same checkpoint.
        centre: the loss at the weights where it is known; two losses otherwise.
        command: kept in the provenance.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        InvalidArgument: eigenpairs of another checkpoint, or options outside what they may be.
    """
    loss = check_frozen(objective) if centre is None else centre
    measures: list[SharpnessMeasure] = []
    if rhos:
        measures += sam_sharpness(objective, rhos)
    if relative_rhos:
        measures += sam_sharpness(objective, relative_rhos, scale="relative")
    if sigmas:
        measures += average_case_sharpness(objective, sigmas, pairs=pairs, seed=seed)
    if relative_sigmas:
        measures += average_case_sharpness(objective, relative_sigmas, scale="relative", pairs=pairs, seed=seed)
    if eigenpairs is not None:
        if eigenpairs.checkpoint != checkpoint:
            raise InvalidArgument(f"expected eigenpairs of {checkpoint}, got those of {eigenpairs.checkpoint}")
        measures += companions_of(eigenpairs, weight_norm(objective))
    return SharpnessReport(name, checkpoint, tuple(measures), provenance(objective, command), loss.value)
