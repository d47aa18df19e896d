"""The built-in heads: the contract for each, and what it computes against plain torch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmbench_head import mmbench_heads
from mmbench_head.label import Label
from mmbench_head.labels import Labels
from mmbench_head.match import Match
from mmbench_head.number import Number
from mmbench_head.text import END, PADDING, Text

from mmbench import plugins
from mmbench.api.data import Task
from mmbench.api.parts import Fused, State
from mmbench.api.parts.head import Head
from mmbench.testing.head import HeadContract

for part in mmbench_heads():
    globals()[f"Test{part.__name__}"] = type(f"Test{part.__name__}", (HeadContract,), {"part": part})


LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def judging(head: Head, state: State) -> Any:
    """The head's module for a fusion that gives logits."""
    return head.build(state, None, 0.0, {})


@pytest.mark.parametrize("together", [False, True])
def test_label(together: bool) -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    state = Label().fit(Label.target("y"), truth, ["a", "b", "c"])
    module, target = judging(Label(), state), torch.from_numpy(Label().encode(state, truth))
    module = module.together() if together else module
    torch.testing.assert_close(module.loss(Fused(logits=LOGITS), target), F.cross_entropy(LOGITS, target))
    torch.testing.assert_close(module.predict(Fused(logits=LOGITS)), LOGITS.softmax(1))


def test_labels() -> None:
    truth = (np.arange(18).reshape(6, 3) % 2).astype(np.float32)
    state = Labels().fit(Labels.target("y"), truth, None)
    module = judging(Labels(), state)
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), torch.from_numpy(truth))
    torch.testing.assert_close(module.loss(Fused(logits=LOGITS), torch.from_numpy(truth)), expected)
    torch.testing.assert_close(module.predict(Fused(logits=LOGITS)), LOGITS.sigmoid())


def test_number() -> None:
    truth = np.array([8.0, 12.0], np.float32)
    state = Number().fit(Number.target("y"), truth, None)
    assert state == {"outputs": 1, "mean": 10.0, "deviation": 2.0}
    encoded = torch.from_numpy(Number().encode(state, truth))
    torch.testing.assert_close(encoded, torch.tensor([-1.0, 1.0]))
    module, fused = judging(Number(), state), Fused(logits=encoded.unsqueeze(1))
    torch.testing.assert_close(module.predict(fused), torch.from_numpy(truth))
    assert module.loss(fused, torch.zeros(2)) == 1


def test_a_match_needs_both_sides() -> None:
    target = Match.target(left=("a", "b"), right=("c",))
    reasons = [
        Match().supports(Task("t", "d", dict.fromkeys(seen, "text"), target, "mrr"))
        for seen in ("ac", "abc", "ab", "c")
    ]
    assert reasons == [None, None, *["retrieval needs a modality of each side"] * 2]


def test_what_a_head_needs_of_a_fusion() -> None:
    catalog = plugins.load()

    class Vector(Label):
        name = "vector"
        needs = ("tokens", "vector")

    assert Vector().misfit(catalog.fusions["concat"]) is None
    assert Vector().misfit(catalog.fusions["majority"]) is None
    assert Vector().misfit(catalog.fusions["tmc"]) == "gives logits, a vector needs tokens or vector"


WORDS = np.array(["a red cat", "two  birds,\nold", "größe ☕ 茶", "a red cat"], dtype=object)


def test_any_text_can_be_written() -> None:
    """Bytes are tokens too: what train never showed comes back as it was."""
    state = Text().fit(Text.target("y"), WORDS[:1], None)
    assert state["length"] <= 10
    state = {**state, "length": 40}
    encoded = Text().encode(state, WORDS)
    assert encoded.shape == (4, 40)
    assert ((encoded == END).sum(1) == 1).all()
    assert Text().decode(state, encoded).tolist() == WORDS.tolist()


def test_the_vocabulary_does_not_depend_on_the_order_of_rows() -> None:
    one, two = (Text().fit(Text.target("y"), rows, None) for rows in (WORDS, WORDS[::-1]))
    assert one == two


def test_padding_and_what_comes_later_change_no_loss() -> None:
    """The loss of a batch is that of its rows' tokens, and a token's chance does not depend on those after it."""
    state = Text().fit(Text.target("y"), WORDS, None)
    torch.manual_seed(0)
    module = Text().build(state, 16, 0.0, {"layers": 2}).eval()
    target = torch.from_numpy(Text().encode(state, WORDS))
    vector = torch.randn(4, 16)
    rows = [module.loss(Fused(vector=vector[[k]]), target[[k]]) for k in range(4)]
    sizes = (target != PADDING).sum(1)
    whole = module.loss(Fused(vector=vector), target)
    torch.testing.assert_close(whole, (torch.stack(rows) * sizes).sum() / sizes.sum())


def test_step_by_step_is_what_the_whole_sentence_gives() -> None:
    """Greedy decoding with kept keys: each token is the likeliest of the model that sees the whole sentence before."""
    state = Text().fit(Text.target("y"), WORDS, None)
    torch.manual_seed(0)
    module = Text().build(state, 16, 0.0, {"layers": 2}).eval()
    tokens, mask = torch.randn(3, 5, 16), torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = False
    fused = Fused(vector=torch.randn(3, 16), tokens=tokens, mask=mask)
    with torch.inference_mode():
        written = module.predict(fused)
        for other in range(3, state["outputs"]):  # no other first token has a smaller loss, and so on for each place
            for place in range(written.shape[1]):
                changed = written.clone()
                changed[:, place] = other
                one, two = (
                    torch.stack([module.loss(_row(fused, k), w[[k], : place + 1]) for k in range(3)])
                    for w in (written, changed)
                )
                alive = written[:, place] != PADDING
                assert (one[alive] <= two[alive] + 1e-5).all()
            if other > 40:
                break
        again = module.predict(Fused(vector=fused.vector, tokens=tokens + 9 * ~mask.unsqueeze(2), mask=mask))
    assert torch.equal(written, again), "a masked token was read"


def _row(fused: Fused, k: int) -> Fused:
    parts = {name: getattr(fused, name)[[k]] for name in ("vector", "tokens", "mask")}
    return Fused(**parts)
