"""Built-in plugin mmbench-metric: scores of predictions, one module for each type of target."""

import mmbench as mb
from mmbench_metric import label, labels, match, number, sentiment, text


@mb.hookimpl
def mmbench_metrics() -> list[type[mb.Metric]]:
    return [*label.METRICS, *labels.METRICS, *number.METRICS, *sentiment.METRICS, *match.METRICS, *text.METRICS]
