"""The LSTM over log-mel frames, against torch's cell."""

from typing import Any

import pytest
import torch
from mmbench_audio.memory import LogMelLSTM

from mmbench.api.space import defaults
from mmbench.testing.encoder import EncoderContract
from mmbench.testing.rules.columns import ordinary


@pytest.mark.slow
class TestLogMelLSTM(EncoderContract):
    part = LogMelLSTM
    configurations = 2


def test_lstm_is_its_equation() -> None:
    part, sounds = LogMelLSTM(), ordinary("audio", 3)
    state = part.fit(sounds, defaults(part.space, "prepare"))
    module: Any = part.build(state, {**defaults(part.space, "build"), "width": 4}).eval()
    given = module({name: torch.from_numpy(value) for name, value in part.transform(state, sounds).items()})
    cell = torch.nn.LSTMCell(4, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in module.recurrent[0].state_dict().items()})
    h = c = torch.zeros(3, 4)
    for step in range(given.tokens.shape[1]):
        h, c = cell(given.layers[0][:, step], (h, c))
        there = given.mask[:, step]
        torch.testing.assert_close(given.tokens[there, step], h[there], rtol=1e-4, atol=1e-5)
