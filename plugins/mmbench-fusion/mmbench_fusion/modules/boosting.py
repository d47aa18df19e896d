"""The estimator of `mmbench_fusion.boosting`, in the frame of the other baselines."""

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mmbench_fusion.modules.baseline import SkLearnEstimator


def boosted(outputs: int, trees: int, rate: float, leaves: int) -> SkLearnEstimator:
    # random_state is left to NumPy's global generator, which whoever fits has seeded
    settings = {"max_iter": trees, "learning_rate": rate, "max_leaf_nodes": leaves, "early_stopping": False}
    return SkLearnEstimator(
        outputs, HistGradientBoostingClassifier(**settings), HistGradientBoostingRegressor(**settings)
    )
