"""The README.md of an export's folder: what it is, how to use it, whose data it was made of."""

from collections.abc import Sequence

from mmbench.api.parts import Dataset
from mmbench.exports.manifest import Manifest

SAID = {
    "export.json": "what it is: parts, parameters, classes, scores, and what was learned of train",
    "weights.safetensors": "the weights and buffers",
    "states.safetensors": "arrays that were learned of train to prepare rows",
    "model.onnx": "the modules as ONNX: prepared arrays in, predictions out",
    "model.pt2": "the same for `torch.export.load`, which unpacks more than numbers: load none that you do not trust",
}


def text(made: Manifest, dataset: Dataset, files: Sequence[str]) -> str:
    """Markdown."""
    score = made.scores.get(made.metric) or {}
    low, high = score.get("low"), score.get("high")
    interval = f" (95% interval {low:.4g} to {high:.4g})" if low is not None and high is not None else ""
    mean = f"{score['mean']:.4g}{interval}" if score.get("mean") is not None else "no score"
    rows = [f"| `{name}` | {SAID[name]} |" for name in files if name in SAID]
    own = made.data.table is not None
    use = "mmbench predict . rows.csv --to predictions.csv" if own else "mmbench predict . --split test"
    given = ", ".join(f'"{modality}": [...]' for modality in made.columns)
    again = " Its weights were trained again, as they were not kept." if made.refit.retrained else ""
    return f"""# {made.contender} on {made.task}

Made by mmbench {made.mmbench} from cell `{made.cell}` of suite {made.suite.get("name")}, \
seal {made.seal or "none"}. {made.metric} on test, mean of all refits: {mean}. These are the weights of seed \
{made.refit.seed}, {made.metric} {made.refit.valid:.4g} on validation.{again}

Modalities: {", ".join(f"{name} ({kind})" for name, kind in made.columns.items())}. Target: {made.target}.

```
{use}
```

```python
import mmbench

export = mmbench.load_export(".")
predictions = export.predict({{{given}}})
```

It is built by installed parts ({", ".join(f"`{name}`" for name in made.parts)}); nothing of this
folder is executed. If a part is a plugin's, give it: `--plugin`, `plugins=[...]`.

| file | |
|---|---|
{chr(10).join(rows)}

Data set: {made.data.name}, licence: {made.data.licence}.{f" {dataset.citation}" if dataset.citation else ""} What its \
licence asks may hold for weights that were trained on it.
"""
