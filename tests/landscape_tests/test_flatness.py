import math

import numpy as np
import pytest
import torch
from landscape_tests.known import bowl, quadratic, small_network
from torch import nn

from landscape.curvature.ends import eigenpairs_of
from landscape.errors import InvalidArgument
from landscape.objective import ModelObjective, loss_at
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm, gauss_newton_forms, outputs_along
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.spectral import eigenvalue_ratio


def test_lpf_is_the_loss_plus_the_average_case_of_the_same_noise():
    small = small_network()
    (lpf,), (rise,) = (measured(small, [0.05], pairs=4) for measured in (smoothed_loss, average_case_sharpness))
    assert lpf.value == pytest.approx(loss_at(small, small.weights).value + rise.value, rel=1e-12)
    assert lpf.standard_error == pytest.approx(rise.standard_error, rel=1e-9)


def test_at_the_sigma_found_the_mean_rise_is_tau_whatever_the_shape():
    small = small_network()
    _, sigma = pac_bayes_flatness(small, 0.05, pairs=4, seed=3)
    (rise,) = average_case_sharpness(small, [sigma.value], pairs=4, seed=3)
    assert rise.value == pytest.approx(0.05, rel=1e-3)


def test_where_no_noise_raises_the_loss_the_flatness_is_zero_and_the_note_says_so():
    hill = quadratic(-torch.eye(4, dtype=torch.float64))
    flatness, sigma = pac_bayes_flatness(hill, 0.1, pairs=2)
    assert (flatness.value, sigma.value) == (0, math.inf)
    assert "no sigma" in flatness.note


def small_softmax(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
        x, y = torch.randn(11, 4).to(dtype), torch.randint(0, 3, (11,))
    batches = [(x[:6], y[:6]), (x[6:], y[6:])]
    return ModelObjective(model, batches, lambda z, t: nn.functional.cross_entropy(z, t, reduction="none"))


def dense_forms(objective, v):
    """(J v) . B (J v) unit by unit, with the Jacobian and the softmax's curvature written out."""
    forms = []
    for chunk in objective.chunks:

        def outputs(flat, chunk=chunk):
            return objective.outputs(objective.layout.unflatten(flat), chunk)

        w = objective.layout.flatten(objective.weights)
        J, p = torch.autograd.functional.jacobian(outputs, w), outputs(w).softmax(dim=1)
        along = J @ v
        forms.append((p * along**2).sum(dim=1) - (p * along).sum(dim=1) ** 2)
    return torch.cat(forms)


def test_the_gauss_newton_form_of_each_unit_is_that_of_the_dense_jacobian():
    objective = small_softmax()
    v = torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.cat([gauss_newton_forms(objective, chunk, v) for chunk in objective.chunks])
    torch.testing.assert_close(found, dense_forms(objective, v), rtol=1e-10, atol=1e-12)


def test_the_fisher_rao_norm_is_that_of_the_dense_jacobian_with_its_error_over_units():
    objective = small_softmax()
    w = objective.layout.flatten(objective.weights)
    forms = dense_forms(objective, w)
    measure = fisher_rao_norm(objective)
    assert measure.value == pytest.approx(forms.mean().item(), rel=1e-10)
    assert measure.standard_error == pytest.approx(forms.std().item() / 11**0.5, rel=1e-10)
    single = fisher_rao_norm(small_softmax(torch.float32))
    assert single.value == pytest.approx(measure.value, rel=1e-4)


def test_the_derivative_of_the_outputs_is_that_of_a_small_step():
    objective = small_softmax()
    v = torch.randn(objective.layout.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (chunk, _), w = objective.chunks, objective.layout.flatten(objective.weights)
    ends = [objective.outputs(objective.layout.unflatten(w + step * v), chunk) for step in (1e-6, -1e-6)]
    _, slope = outputs_along(objective, chunk, v)
    torch.testing.assert_close(slope, (ends[0] - ends[1]).detach() / 2e-6, rtol=1e-6, atol=1e-8)


def test_the_fisher_rao_norm_of_a_quadratic_is_its_form_and_a_block_has_its_own():
    known = bowl(18)  # outputs are w - minimum and the loss is quadratic in them: G is A
    w = known.layout.flatten(known.weights)
    assert fisher_rao_norm(known).value == pytest.approx((w @ known.matrix @ w).item(), rel=1e-12)
    own = torch.cat([w[:15], torch.zeros(3)])
    assert fisher_rao_norm(known, block="table").value == pytest.approx((own @ known.matrix @ own).item(), rel=1e-12)


def test_relative_flatness_takes_the_largest_table_and_stays_when_it_is_rescaled():
    def measured(factor):
        objective = small_network()
        weights = {
            name: tensor * {"scores.weight": factor, "norm.weight": 1 / factor, "norm.bias": 1 / factor}.get(name, 1)
            for name, tensor in objective.weights.items()
        }
        objective.weights = weights
        return relative_flatness(objective, "scores.weight", probes=4)

    assert measured(4.0).value == pytest.approx(measured(1.0).value, rel=1e-9)
    default = relative_flatness(small_network(), probes=2)
    assert default.setting["table"] == "embedding.weight"
    with pytest.raises(InvalidArgument, match="expected a table out of"):
        relative_flatness(small_network(), "norm.weight")


def test_the_eigenvalue_ratio_is_within_its_residual_of_the_dense_one():
    known = quadratic(torch.diag(torch.tensor([8.0, 5.0, 3.0, 2.0, 1.0, 0.2])))
    pairs = eigenpairs_of(known, name="q", checkpoint="c", top=5, tolerance=1e-4, max_products=4000)
    ratio = eigenvalue_ratio(pairs)
    assert abs(ratio.value - 8) <= ratio.setting["residual"]
    assert ratio.setting["residual"] < 0.01
    with pytest.raises(InvalidArgument, match="lambda_7"):
        eigenvalue_ratio(pairs, other=7)


def test_a_chain_that_leaves_the_basin_is_kept_negative_and_named():
    saddle = quadratic(torch.diag(torch.tensor([1.0, -0.5, 1.0])), at_minimum=True)
    measure = local_learning_coefficient(saddle, chains=2, draws=60, burn_in=60, epsilon=0.05, gamma=0.0)
    assert measure.value < 0
    assert "2 of 2 chains ended below the checkpoint: they left the basin" in measure.note


def test_chains_that_run_away_are_kept_and_named():
    known = bowl(18, at_minimum=True)
    measure = local_learning_coefficient(known, chains=2, draws=400, burn_in=0, epsilon=1e6, gamma=1.0)
    assert not math.isfinite(measure.value)
    assert measure.note.startswith("unsettled: 2 of 2 chains were not finite")


def test_batches_of_units_give_the_llc_of_the_whole_loss_as_well():
    known = bowl(18, at_minimum=True)
    known.chunks[0].slopes.zero_()  # then every batch has the whole gradient
    whole, batched = (
        local_learning_coefficient(
            known, chains=2, draws=80, burn_in=60, epsilon=0.01, gamma=1.0, batch=batch, block=block
        )
        for batch, block in ((None, None), (2, "bias"))
    )
    assert batched.cost == 2 * whole.cost
    assert 0 < batched.value < whole.value  # fewer coordinates move


def test_flatness_options_outside_what_they_may_be_are_refused():
    known = quadratic()
    for refused in (
        lambda: pac_bayes_flatness(known, 0.0),
        lambda: pac_bayes_flatness(known, 0.1, pairs=1),
        lambda: relative_flatness(known, probes=1),
        lambda: relative_flatness(quadratic(torch.eye(2, dtype=torch.float64))),
        lambda: local_learning_coefficient(known, chains=1),
        lambda: local_learning_coefficient(known, epsilon=0.0),
    ):
        with pytest.raises(InvalidArgument, match="expected"):
            refused()


def test_no_measure_depends_on_the_batch_size():
    values = [
        (
            fisher_rao_norm(small_network(batch_size=b)).value,
            relative_flatness(small_network(batch_size=b), probes=2).value,
        )
        for b in (1, 21)
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)
