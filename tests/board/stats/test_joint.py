"""Joint draws, held against SciPy's multivariate normal and Dunnett's test."""

import numpy as np
import pytest
from scipy.stats import dunnett, multivariate_normal, norm

from mmbench.board.stats.joint import SURE, Joint, tail, units

COVARIANCE = np.array([[1.0, 0.3, 0.2, 0.0], [0.3, 1.5, 0.6, 0.1], [0.2, 0.6, 0.8, 0.2], [0.0, 0.1, 0.2, 2.0]])


def correlation(one: int, others: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Of the others' differences from one."""
    contrast = np.zeros((len(others), 4))
    contrast[:, one] = -1
    contrast[np.arange(len(others)), others] = 1
    covariance = contrast @ COVARIANCE @ contrast.T
    deviations = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(deviations, deviations))


def test_units_are_those_of_a_normal_figure() -> None:
    assert [units(p) for p in (1.0, 0.05, 0.0)] == [0.0, pytest.approx(norm.isf(0.025)), np.inf]
    assert tail(units(0.05)) == pytest.approx(0.025)


def test_the_largest_lead_is_held_against_the_multivariate_normal() -> None:
    others, ahead = [1, 2, 3], [1.9, 2.1, 1.0]
    wanted = 1 - multivariate_normal.cdf(np.full(3, 2.1), cov=correlation(0, others))
    assert Joint(COVARIANCE).of_best(0, others, ahead) == pytest.approx(wanted + SURE, abs=0.006)


def test_a_rival_that_is_surely_worse_makes_no_test_harder() -> None:
    """Far behind, it is as if it were not there; where it may be as good, it counts in full."""
    two = Joint(COVARIANCE[:2, :2]).of_best(0, [1], [2.0])
    assert two == pytest.approx(norm.sf(2.0) + SURE, abs=0.006)
    assert Joint(COVARIANCE).of_best(0, [1, 2, 3], [2.0, -9.0, -9.0]) == pytest.approx(two, abs=0.006)
    assert Joint(COVARIANCE).of_best(0, [1, 2, 3], [2.0, -1.0, -1.0]) > two + 0.02


def test_steps_are_held_against_the_multivariate_normal() -> None:
    others, apart = [1, 2, 3], [1.2, 2.6, 2.2]
    found = Joint(COVARIANCE).stepped(0, others, apart)

    def wanted(kept: list[int], at: float) -> float:
        edge = np.full(len(kept), at)
        return 1 - float(multivariate_normal.cdf(edge, cov=correlation(0, kept), lower_limit=-edge))

    assert found[1] == pytest.approx(wanted([1, 2, 3], 2.6), abs=0.006)
    assert found[2] == pytest.approx(wanted([1, 3], 2.2), abs=0.006)
    assert found[0] == pytest.approx(wanted([1], 1.2), abs=0.012)
    assert found[1] < found[2] < found[0]


def test_the_first_step_is_dunnetts_where_there_is_much_to_go_by() -> None:
    draw = np.random.default_rng(0)
    control, *groups = draw.normal(np.array([0, 0.02, 0.05, 0.09])[:, None], 1, (4, 4000))
    told = dunnett(*groups, control=control)
    joint = Joint(np.eye(4) / 4000)
    most = int(np.argmax(np.abs(told.statistic)))
    found = joint.stepped(0, [1, 2, 3], [abs(float(own)) for own in told.statistic])
    assert found[most] == pytest.approx(told.pvalue[most], abs=0.006)


def test_contenders_that_do_the_same_have_no_error_between_them() -> None:
    joint = Joint(np.ones((3, 3)))
    assert joint.stepped(0, [1, 2], [0.0, 0.0]) == [1.0, 1.0]
    assert joint.of_best(0, [1, 2], [0.0, np.inf]) == SURE
    assert Joint(np.zeros((2, 2))).of_best(0, [1], [0.0]) == 1.0
