"""What each sharpness measure is called in tables and figures, its unit, and whether re-scaling the weights moves it.

Reads records alone, without torch: drawing stands on it. Measures of one quantity can share an axis; raw values and
scale-invariant ones never do, for a raw value says as much of ||w|| as of the loss.
"""

from dataclasses import dataclass

from landscape.sharpness.measure import SharpnessMeasure

RADII = ("rho", "sigma", "radius", "epsilon", "tau")  # settings a measure is drawn against
SILENT = (  # settings that do not make another measure, or only for who computes it
    "seed",
    "draws",
    "restarts",
    "iterations",
    "pairs",
    "residual",
    "steps",
    "batches",
    "probes",
    "chains",
    "burn_in",
    "batch",
    "beta",
    "k",
    "table",
    "eta",
    "tolerance",
    "max_products",
    "method",
)
OVER = {  # what a standard error is over
    "average_case": "noise",
    "lpf": "noise",
    "pac_bayes": "noise",
    "pac_bayes_sigma": "noise",
    "m_sharpness": "batches",
    "fisher_rao": "units",
    "relative_flatness": "probes",
    "sam_drop": "units",
    "average_drop": "units and noise",
    "worst_case_drop": "units",
    "keskar_drop": "units",
    "trace": "probes",
    "frobenius_norm": "probes",
    "llc": "chains",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of measures and what its numbers are."""

    name: str
    quantity: str  # with its unit; what may share an axis
    invariant: bool | None = None  # None: by its setting `scale`


ONE_STEP = "one ascent step of the loss"
AT_WORST_POINT = "at the worst point found for the loss"
PLAIN_NOTES = (ONE_STEP, AT_WORST_POINT)  # how it is taken, no more
UNSETTLED = ("did not converge", "unsettled")  # what a note says of eigenvalues, of chains

SCALED_LAMBDA = "λmax × ‖w‖²"
KINDS = {
    "lambda_max": Kind("λmax", "λ", invariant=False),
    "lambda_min": Kind("λmin", "λ", invariant=False),
    "lambda_max_norm_squared": Kind(SCALED_LAMBDA, SCALED_LAMBDA, invariant=False),  # as the ratio, it stays only
    "lambda_ratio": Kind("λ1 / λ5", "λ1 / λ5", invariant=False),  # where all weights are scaled alike
    "trace": Kind("trace", "tr H"),
    "frobenius_norm": Kind("Frobenius norm", "‖H‖F"),
    "sam": Kind("SAM", "rise of the loss"),
    "worst_case": Kind("worst case", "rise of the loss"),
    "m_sharpness": Kind("m-sharpness", "rise of the loss"),
    "average_case": Kind("average case", "rise of the loss"),
    "keskar": Kind("Keskar", "rise in % of 1 + L", invariant=False),
    "pac_bayes": Kind("PAC-Bayes", "1 / σ²"),
    "pac_bayes_sigma": Kind("PAC-Bayes σ", "σ"),
    "lpf": Kind("LPF", "smoothed loss"),
    "fisher_rao": Kind("Fisher-Rao", "w·Gw", invariant=True),
    "relative_flatness": Kind("relative flatness", "⟨w, w⟩ tr H", invariant=True),
    "sam_drop": Kind("SAM", "drop of the metric"),
    "average_drop": Kind("average case", "drop of the metric"),
    "worst_case_drop": Kind("worst case", "drop of the metric"),
    "keskar_drop": Kind("Keskar", "drop of the metric", invariant=False),
    "llc": Kind("LLC", "learning coefficient", invariant=False),
}


def kind_of(measure: SharpnessMeasure) -> Kind:
    """The family of a measure; one that is not known here is called what it calls itself."""
    name = measure.measure.replace("_", " ")
    return KINDS.get(measure.measure, Kind(name, name))


def measure_name(measure: SharpnessMeasure) -> str:
    """A measure at its setting, as every table and note calls it: "SAM ρ 0.5 |w|", "λmax"."""
    return f"{family_of(measure)} {radius_text(measure)}".strip()


def eigenvalue_label(end: str, k: int) -> str:
    """The label of the k-th eigenvalue from an end of the spectrum, "top" or "bottom": "lambda_max", "lambda_min_2"."""
    first, further = {"top": ("lambda_max", "lambda_"), "bottom": ("lambda_min", "lambda_min_")}[end]
    return first if k == 1 else f"{further}{k}"


def eigenvalue_name(label: str) -> str:
    """What an eigenvalue is called of this label: "λmax", "λ2", "λmin, 2"."""
    return label.replace("lambda_", "λ").replace("_", ", ")


def quantity_of(measure: SharpnessMeasure) -> str:
    """What the value is, with its unit; a metric's drop by the metric's name."""
    metric = measure.setting.get("metric")
    return f"drop of {str(metric).upper()}" if metric else kind_of(measure).quantity


def is_invariant(measure: SharpnessMeasure) -> bool:
    """Whether the value stays where weights are re-scaled and the function is kept; |w| + eta does not."""
    invariant = kind_of(measure).invariant
    if invariant is not None:
        return invariant
    return measure.setting.get("scale") == "relative" and not measure.setting.get("eta")


def is_lower_bound(measure: SharpnessMeasure) -> bool:
    """Whether the true value may be larger: a search's best, or one step's."""
    return "lower bound" in measure.note


def is_settled(measure: SharpnessMeasure) -> bool:
    """Whether the eigenvalues, the chains or the search behind the value came to rest."""
    return not any(word in measure.note for word in UNSETTLED)


def sign_of(measure: SharpnessMeasure) -> str:
    """What a table has before the value: "≥ " of a lower bound, "? " of one that is not settled."""
    return "≥ " if is_lower_bound(measure) else "" if is_settled(measure) else "? "


def is_plain(measure: SharpnessMeasure) -> bool:
    """Whether the note says no more than how the measure is taken."""
    return is_lower_bound(measure) or measure.note in PLAIN_NOTES


def radius_of(measure: SharpnessMeasure) -> str | None:
    """The setting that says how far the weights were moved, or how far the loss might rise."""
    return next((key for key in RADII if measure.setting.get(key) is not None), None)


def family_of(measure: SharpnessMeasure) -> str:
    """The measure with those settings that make it another one, but neither its radius nor its scale."""
    setting = measure.setting
    extra = []
    if measure.measure in ("worst_case", "worst_case_drop"):
        extra.append("ℓ∞" if setting.get("p") == "inf" else "ℓ2")
    if measure.measure == "m_sharpness":
        extra.append(str(setting.get("form")))
    if measure.measure == "llc":
        extra += [f"γ {setting.get('gamma'):g}"] if isinstance(setting.get("gamma"), float) else []
    if setting.get("metric"):
        extra.append(str(setting["metric"]))
    if setting.get("block"):
        extra.append(str(setting["block"]))
    size = f" {setting.get('m')}" if measure.measure == "m_sharpness" else ""
    return ", ".join([kind_of(measure).name + size, *extra])


def radius_text(measure: SharpnessMeasure) -> str:
    """ "ρ .1", "σ .05 |w|", "|w|" of what is relative without a radius; empty where there is neither."""
    radius = radius_of(measure)
    eta = measure.setting.get("eta")
    size = "|w|" if not eta else f"(|w| + {eta:g})"
    of = size if measure.setting.get("scale") == "relative" else ""
    if radius is None:
        return of
    letter = {"rho": "ρ", "sigma": "σ", "epsilon": "ε", "tau": "τ"}.get(radius, radius)
    return f"{letter} {measure.setting[radius]:g} {of}".strip()
