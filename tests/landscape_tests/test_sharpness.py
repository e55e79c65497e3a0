import math

import numpy as np
import pytest
import torch
from landscape_tests.known import Units, quadratic, small_network
from torch import nn

from landscape.curvature.ends import eigenpairs_of
from landscape.errors import InvalidArgument
from landscape.objective import ModelObjective
from landscape.sharpness.average_case import average_case_sharpness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.summary import sharpness_report


def flat_gradient(known):
    return known.matrix @ (known.layout.flatten(known.weights) - known.minimum)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_sam_sharpness_of_a_quadratic_is_its_closed_form(scale, batch_size):
    known = quadratic(scale * quadratic().matrix, batch_size=batch_size)
    g = flat_gradient(known)
    along = g @ known.matrix @ g / (g @ g)
    rhos = [0.0, 0.05, 2.0]

    measures = sam_sharpness(known, rhos)

    expected = [(rho * g.norm() + rho**2 / 2 * along).item() for rho in rhos]
    assert [measure.value for measure in measures] == pytest.approx(expected, rel=1e-9, abs=1e-18)
    assert [measure.setting["rho"] for measure in measures] == rhos
    assert all(measure.standard_error is None for measure in measures)


@pytest.mark.parametrize("eta", [0.0, 0.01])
def test_relative_sam_sharpness_of_a_quadratic_is_its_closed_form(eta):
    known = quadratic()
    g, stretch = flat_gradient(known), known.layout.flatten(known.weights).abs() + eta
    step = 0.3 * stretch**2 * g / (stretch * g).norm()
    (measure,) = sam_sharpness(known, [0.3], scale="relative", eta=eta)
    assert measure.value == pytest.approx((g @ step + step @ known.matrix @ step / 2).item(), rel=1e-10)
    assert measure.setting["scale"] == "relative"


def test_at_a_minimum_there_is_no_ascent_direction_and_the_note_says_so():
    known = quadratic(at_minimum=True)
    known.chunks = [Units(chunk.counts, torch.zeros_like(chunk.slopes)) for chunk in known.chunks]
    (measure,) = sam_sharpness(known, [0.5])
    assert measure.value == 0
    assert "gradient is zero" in measure.note


@pytest.mark.parametrize("sigma", [0.01, 1.0])
@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_the_standard_error_of_the_average_case_covers_the_truth(sigma, scale):
    known = quadratic(batch_size=9)
    stretch = torch.ones(12).double() if scale == "absolute" else known.layout.flatten(known.weights).abs()
    truth = (sigma**2 / 2 * (stretch**2 * known.matrix.diagonal()).sum()).item()

    found = [average_case_sharpness(known, [sigma], scale=scale, pairs=10, seed=seed)[0] for seed in range(60)]

    errors = np.array([measure.standard_error for measure in found])
    distances = np.array([measure.value for measure in found]) - truth
    covered = (abs(distances) < 2.262 * errors).mean()  # 95 % of a t with 9 degrees of freedom
    assert covered >= 0.87
    assert abs(distances.mean()) < 3 * distances.std(ddof=1) / 60**0.5
    assert errors.mean() == pytest.approx(distances.std(ddof=1), rel=0.3)  # nor too wide


def test_antithetic_pairs_leave_no_trace_of_the_gradient():
    here, away = quadratic(at_minimum=True), quadratic()
    assert flat_gradient(away).norm() > 1
    values = [average_case_sharpness(known, [0.01], seed=1)[0].value for known in (here, away)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_noise_is_shared_between_the_sigmas_of_one_seed():
    small, double = average_case_sharpness(quadratic(), [0.1, 0.2], pairs=3)
    assert double.value == pytest.approx(4 * small.value, rel=1e-9)


def test_relative_measures_ignore_a_rescaling_of_the_weights_and_plain_ones_do_not():
    def measures(factor):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
            x, y = torch.randn(10, 4, dtype=torch.float64), torch.randint(0, 3, (10,))
        with torch.no_grad():
            model[0].weight *= factor
            model[0].bias *= factor
            model[2].weight /= factor
        objective = ModelObjective(model, [(x, y)], lambda z, t: nn.functional.cross_entropy(z, t, reduction="none"))
        relative = (
            *sam_sharpness(objective, [0.2], scale="relative"),
            *average_case_sharpness(objective, [0.1], scale="relative", pairs=3),
        )
        plain = (*sam_sharpness(objective, [0.2]), *average_case_sharpness(objective, [0.1], pairs=3))
        return [m.value for m in relative], [m.value for m in plain]

    (relative, plain), (relative_scaled, plain_scaled) = measures(1.0), measures(4.0)
    assert relative_scaled == pytest.approx(relative, rel=1e-9)
    assert all(abs(a / b - 1) > 0.1 for a, b in zip(plain, plain_scaled, strict=True))


def test_measuring_leaves_the_weights_and_the_frozen_rows_alone():
    small = small_network(zero_row=1)
    before = {name: tensor.clone() for name, tensor in small.weights.items()}
    report = sharpness_report(small, name="n", checkpoint="c", pairs=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in small.weights.items())
    assert all(math.isfinite(measure.value) for measure in report.measures)  # a row of zeros does no harm


def test_sharpness_does_not_depend_on_the_batch_size():
    values = [
        [m.value for m in sharpness_report(small_network(batch_size=b), name="n", checkpoint="c", pairs=2).measures]
        for b in (1, 7, 21)
    ]
    np.testing.assert_allclose(values[0], values[2], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(values[1], values[2], rtol=1e-9, atol=1e-14)


def test_the_report_holds_every_measure_and_the_scale_invariant_lambda_max():
    known = quadratic()
    pairs = eigenpairs_of(known, name="q", checkpoint="c", tolerance=1e-6, max_products=2000)
    report = sharpness_report(
        known,
        name="q",
        checkpoint="c",
        rhos=[0.1],
        relative_rhos=[0.5],
        sigmas=[0.1],
        relative_sigmas=[],
        eigenpairs=pairs,
    )
    assert [(m.measure, m.setting.get("scale")) for m in report.measures] == [
        ("sam", "absolute"),
        ("sam", "relative"),
        ("average_case", "absolute"),
        ("lambda_max_norm_squared", None),
    ]
    norm = known.layout.flatten(known.weights).norm().item()
    largest = torch.linalg.eigvalsh(known.matrix)[-1].item()
    assert report.measures[-1].value == pytest.approx(largest * norm**2, rel=1e-8)
    assert report.measures[-1].setting["residual"] == pytest.approx(pairs.residuals[0] * norm**2, rel=1e-12)


def test_eigenpairs_of_another_checkpoint_are_refused():
    known = quadratic()
    pairs = eigenpairs_of(known, name="q", checkpoint="other", max_products=1)
    with pytest.raises(InvalidArgument, match="other"):
        sharpness_report(known, name="q", checkpoint="c", eigenpairs=pairs)


def test_an_eigenpair_that_did_not_converge_is_said_beside_the_companion():
    known = quadratic()
    pairs = eigenpairs_of(known, name="q", checkpoint="c", max_products=1)
    report = sharpness_report(known, name="q", checkpoint="c", pairs=2, eigenpairs=pairs)
    assert "did not converge" in report.measures[-1].note


def test_a_loss_that_overflows_is_kept_as_it_is():
    class Exponential(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return (self.weight * x).exp()

    objective = ModelObjective(
        Exponential(), [(torch.ones(2, 1, dtype=torch.float64), torch.ones(2))], lambda z, _: z.squeeze(1)
    )
    (measure,) = sam_sharpness(objective, [1e6])
    assert measure.value == math.inf
    (average,) = average_case_sharpness(objective, [1e6], pairs=3)
    assert not math.isfinite(average.value)
    assert "not finite" in average.note


@pytest.mark.parametrize(
    "call",
    [
        lambda known: sam_sharpness(known, [-0.1]),
        lambda known: sam_sharpness(known, [math.nan]),
        lambda known: average_case_sharpness(known, [0.1], pairs=1),
        lambda known: average_case_sharpness(known, [-0.1]),
    ],
    ids=["negative rho", "nan rho", "one pair", "negative sigma"],
)
def test_settings_outside_their_range_are_refused(call):
    with pytest.raises(InvalidArgument, match="expected"):
        call(quadratic())
