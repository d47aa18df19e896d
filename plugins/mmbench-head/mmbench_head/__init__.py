"""Built-in plugin mmbench-head: what each type of target means, one module a type."""

import mmbench as mb
from mmbench_head import label, labels, match, number, text


@mb.hookimpl
def mmbench_heads() -> list[type[mb.Head]]:
    return [label.Label, labels.Labels, number.Number, match.Match, text.Text]
