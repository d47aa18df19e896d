"""What starter's protocol tells apart: the judge, on contenders whose truth is plain."""

import numpy as np

from benchmarks.power.choice import Task, line


def made(*means: float) -> Task:
    """Contenders of such mean errors, ten seeds each, on 600 rows that are hard or easy for all."""
    draw = np.random.default_rng(0)
    rows = draw.normal(0, 0.2, 600)
    values = [mean + rows + draw.normal(0, 0.02, (10, 1)) + draw.normal(0, 0.1, (10, 600)) for mean in means]
    names = [f"fusion {k}" for k in range(len(means) - 1)]
    return Task("plain", [*names, "only a"], values, len(means) - 1, list(range(len(means) - 1)))


def test_what_lies_far_apart_is_told_and_the_best_is_kept() -> None:
    found = line(made(0.2, 0.6, 0.5), 9, items=200, worlds=4)
    assert (found.worse, found.differ) == (2, 2)
    assert found.left_out == (1.0, 1.0)
    assert found.gains == (1.0, 1.0)
    assert found.lost == found.wrong == (0.0, 0.0)


def test_the_board_tells_more_apart_than_all_pairs_do() -> None:
    found = line(made(0.30, *[0.325] * 8, 0.34), 3, items=200, worlds=12)
    assert found.left_out[1] > found.left_out[0]
    assert found.lost[1] < 0.2
