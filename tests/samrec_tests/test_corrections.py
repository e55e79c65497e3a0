"""Corrections for many comparisons against their definitions, word for word in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samrec.errors import ConfigError
from samrec.experiments.corrections import benjamini_hochberg, holm

P_VALUES = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.25, 1.0]))


def holm_by_definition(p_values):
    """Rejected at level a: walk up from the smallest while p_(i) <= a / (m - i + 1). Adjusted: the least such a."""
    m = len(p_values)
    order = sorted(range(m), key=lambda k: p_values[k])
    adjusted = [0.0] * m
    for rank, k in enumerate(order):
        adjusted[k] = min(1.0, max((m - j) * p_values[order[j]] for j in range(rank + 1)))
    return adjusted


def benjamini_hochberg_by_definition(p_values):
    """Rejected at level a: all up to the largest i with p_(i) <= a i / m. Adjusted: the least such a."""
    m = len(p_values)
    order = sorted(range(m), key=lambda k: p_values[k])
    adjusted = [0.0] * m
    for rank, k in enumerate(order):
        adjusted[k] = min(1.0, min(m / (j + 1) * p_values[order[j]] for j in range(rank, m)))
    return adjusted


@given(P_VALUES)
def test_both_are_their_definitions(p_values):
    assert holm(p_values) == pytest.approx(holm_by_definition(p_values), rel=1e-12, abs=1e-300)
    assert benjamini_hochberg(p_values) == pytest.approx(
        benjamini_hochberg_by_definition(p_values), rel=1e-12, abs=1e-300
    )


def test_a_case_worked_by_hand():
    p_values = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p_values).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p_values).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


@given(P_VALUES)
def test_holm_rejects_no_more_than_benjamini_hochberg_and_no_less_than_bonferroni(p_values):
    adjusted = holm(p_values)
    assert (adjusted >= benjamini_hochberg(p_values) - 1e-12).all()
    assert (adjusted <= np.minimum(1, len(p_values) * p_values) + 1e-12).all()


def test_a_comparison_that_could_not_be_made_stays_out_of_the_count():
    some = np.array([0.01, np.nan, 0.03])
    for correct in (holm, benjamini_hochberg):
        found = correct(some)
        assert np.isnan(found[1])
        assert found[[0, 2]].tolist() == correct(some[[0, 2]]).tolist()
        assert np.isnan(correct(np.array([np.nan]))).all()
        assert correct(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        holm(np.array([0.5, wrong]))
