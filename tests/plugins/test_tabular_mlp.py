import numpy as np
from mmbench_tabular.mlp import LIMIT, MLP

from mmbench.testing.encoder import EncoderContract


class TestMLP(EncoderContract):
    part = MLP


def test_cells_are_standardised_on_the_train_rows() -> None:
    train = np.array([[1, 5, 7], [2, 5, np.nan], [6, 5, 9], [7, 5, 11]], np.float32)
    state = MLP().fit(list(train), {})
    other = np.array([[3, 5, np.nan], [1e9, 6, 10]], np.float32)
    cells = MLP().transform(state, list(other))["cells"]
    third = np.array([7, 9, 9, 11])  # its missing cell is the median of 7, 9 and 11
    expected = [
        [(3 - 4) / train[:, 0].std(), 0, (9 - third.mean()) / third.std()],
        [LIMIT, 1, (10 - third.mean()) / third.std()],  # a constant column is only centred
    ]
    np.testing.assert_allclose(cells, expected, rtol=1e-5, atol=1e-6)


def test_a_column_that_train_never_filled_is_zero() -> None:
    train = [np.array([np.nan, 1], np.float32), np.array([np.inf, 2], np.float32)]
    state = MLP().fit(train, {})
    assert MLP().transform(state, train)["cells"][:, 0].tolist() == [0, 0]
