import numpy as np
import pytest
import torch
from landscape_tests.known import quadratic, small_network
from landscape_tests.rates import SEEDS, covered, holds_at_the_stated_rate

from landscape.errors import InvalidArgument
from landscape.sharpness.metric_sharpness import average_metric_drop, paired_mean, sam_metric_drop
from landscape.sharpness.perturbation import displaced, scale_of
from landscape.sharpness.sam_step import ascent_step


def test_the_drop_along_sams_step_is_that_of_the_metric_before_and_after_unit_by_unit():
    small = small_network()
    (measure,) = sam_metric_drop(small, ["accuracy"], [3.0])
    step, _ = ascent_step(small, scale_of(small, "absolute"))
    before, after = (
        small.metrics(weights, ["accuracy"])["accuracy"] for weights in (small.weights, displaced(small, 3.0 * step))
    )
    drops = (before - after).numpy()
    assert measure.value == pytest.approx(drops.mean(), abs=1e-12)
    assert measure.value > 0
    assert measure.standard_error == pytest.approx(drops.std(ddof=1) / len(drops) ** 0.5, rel=1e-12)
    assert measure.setting["metric"] == "accuracy"


def test_the_drop_under_noise_of_a_linear_metric_is_zero_by_its_pairs():
    known = quadratic()  # "height" is a coordinate: + z and - z cancel
    (measure,) = average_metric_drop(known, ["height"], [0.3], pairs=3)
    assert measure.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("draws", [1, 2, 8])
def test_the_error_of_a_paired_mean_covers_the_truth_where_units_and_draws_vary(draws):
    generator = np.random.default_rng(0)
    hits, errors, means = [], [], []
    for _ in range(SEEDS):
        units, noise = generator.normal(0.5, 1, 40), generator.normal(0, 0.3 if draws > 2 else 0, draws)
        mean, error = paired_mean(units + noise[:, None] + generator.normal(0, 0.5, (draws, 40)))
        hits.append(covered(mean, error, 0.5, degrees=39))
        errors.append(error)
        means.append(mean)
    assert holds_at_the_stated_rate(hits)
    assert np.mean(errors) == pytest.approx(np.std(means, ddof=1), rel=0.12)


def test_one_draw_is_the_ordinary_paired_error_and_a_single_unit_has_none():
    table = np.array([[1.0, 2.0, 4.0, 5.0]])
    assert paired_mean(table) == pytest.approx((3.0, table.std(ddof=1) / 2))
    assert np.isnan(paired_mean(table[:, :1])[1])


def test_only_the_block_moves_and_rows_out_of_reach_drop_nothing():
    small = small_network()
    (still,) = sam_metric_drop(small, ["accuracy"], [5.0], block="rows:untouched")
    assert still.value == 0
    assert "gradient is zero" in still.note
    (under_noise,) = average_metric_drop(small, ["accuracy"], [5.0], block="rows:untouched", pairs=2)
    assert (under_noise.value, under_noise.standard_error) == (0, 0)
    assert all(torch.equal(a, b) for a, b in zip(small.weights.values(), small_network().weights.values(), strict=True))


def test_an_objective_without_metrics_refuses():
    small = small_network()
    small._metrics = None
    with pytest.raises(InvalidArgument, match="expected no metrics"):
        sam_metric_drop(small, ["accuracy"], [1.0])
    with pytest.raises(InvalidArgument, match="2 antithetic pairs"):
        average_metric_drop(small_network(), ["accuracy"], [1.0], pairs=1)
