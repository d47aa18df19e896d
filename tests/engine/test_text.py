"""A task whose answer is a text, from search to board: two views, each of which tells one of two words."""

from pathlib import Path

import numpy as np
import pytest

from mmbench import session
from mmbench.store import reading

TOYS = str(Path(__file__).parents[1] / "toys.py")
SUITE = """
name = "words"
version = 1

[budget]
trials = 1
epochs = 12
refit_seeds = 1

[[task]]
name = "words"
dataset = "toy_text"
metric = "token_f1"

[[contender]]
name = "concat"
fusion = "concat"

[[contender]]
name = "only"
each_modality = true

[[contender]]
name = "majority"
fusion = "majority"
"""


@pytest.mark.slow
def test_two_views_tell_two_words_and_each_alone_tells_one(tmp_path: Path) -> None:
    suite = tmp_path / "words.toml"
    suite.write_text(SUITE)
    done = session.run(suite, plugins=[TOYS], results=tmp_path / "results", workers=2)
    scores = {record.contender: np.mean(record.scores("token_f1")) for record in done.data.records}
    assert scores["concat"] > 0.9
    assert all(0.6 < scores[f"only {side}"] < 0.8 for side in ("left", "right")), scores
    assert scores["majority"] < 0.6
    (record,) = (record for record in done.data.records if record.contender == "concat")
    stored = reading.load_predictions(done.folder, record.refits[0])["test"]
    assert set(stored) <= {f"{first} {second}" for first in ("red", "green") for second in ("cat", "house")}
    assert set(record.directions) == {"exact_match", "token_f1", "bleu", "rouge_l", "chrf"}
