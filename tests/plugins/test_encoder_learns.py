"""Trainable encoders learn: with one dense layer behind them they come near a plain baseline, or far above chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mmbench as mb
from mmbench.api.data import Sound
from mmbench.api.space import defaults
from mmbench.plugins import load

Rows = tuple[list[Any], "np.ndarray[Any, Any]"]
TABULAR = ("res_mlp", "ft_transformer", "ple", "periodic")


def digits(kind: str) -> Rows:
    """1,797 real digits of 8 x 8 pixels: logistic regression has .96."""
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    if kind == "tabular":
        return list(pixels.astype(np.float32)), labels
    pictures = (pixels.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    return [Image.fromarray(picture).convert("RGB") for picture in pictures], labels


def accuracy(name: str, rows: Rows, *, epochs: int, params: Mapping[str, Any] | None = None, lr: float = 2e-3) -> float:
    """On the last third of the rows, by the default configuration but for `params`."""
    torch.manual_seed(0)
    part: mb.Encoder = load().encoders[name]
    column, labels = rows
    train = 2 * len(column) // 3
    state = part.fit(column[:train], defaults(part.space, "prepare"))

    def arrays(some: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(value) for key, value in part.transform(state, some).items()}

    x, y, unseen = arrays(column[:train]), torch.as_tensor(labels[:train]).long(), arrays(column[train:])
    module = part.build(state, {**defaults(part.space, "build"), **(params or {})})

    def pooled(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        given = module(batch)
        return (given if isinstance(given, mb.Features) else mb.Features(given)).pooled

    head = nn.Linear(pooled({key: value[:2] for key, value in x.items()}).shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW([*module.parameters(), *head.parameters()], lr=lr, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for chosen in torch.randperm(train, generator=generator).split(64):
            batch = part.augment({key: value[chosen] for key, value in x.items()}, generator)
            loss = nn.functional.cross_entropy(head(pooled(batch)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module.eval()
    with torch.no_grad():
        found = head(pooled(unseen)).argmax(1).numpy()
    return float((found == labels[train:]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", TABULAR)
def test_tables(name: str) -> None:
    assert accuracy(name, digits("tabular"), epochs=15) > 0.9


def waves() -> Rows:
    """600 series of unequal length: which of three waves is in the noise, its phase and channel by chance."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 600)
    rows = []
    for label in labels:
        time = np.arange(generator.integers(80, 120)) + generator.uniform(0, 50)
        row = generator.normal(0, 0.5, size=(len(time), 2))
        row[:, generator.integers(0, 2)] += np.sin(2 * np.pi * time / (6, 10, 17)[label])
        rows.append(row.astype(np.float32))
    return rows, labels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "tcn", "minirocket"])
def test_series(name: str) -> None:
    assert accuracy(name, waves(), epochs=25) > 0.8


def notes(shortest: int, longest: int) -> Rows:
    """600 texts: one of two words for each of three classes stands among a hundred that say nothing,
    as often late as early."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 600)
    rows = []
    for label in labels:
        text = [f"w{word}" for word in generator.integers(0, 100, generator.integers(shortest, longest))]
        for place in generator.integers(0, len(text), 3):
            text[place] = (("sun", "heat"), ("rain", "flood"), ("snow", "ice"))[label][generator.integers(0, 2)]
        rows.append(" ".join(text))
    return rows, labels


def tones() -> Rows:
    """240 sounds: whether a tone rises or falls, from any pitch, in noise."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 240)
    rows = []
    for label in labels:
        time = np.arange(4000) / 8000
        slope = (1 if label else -1) * generator.uniform(800, 1600)
        pitch = generator.uniform(1200, 2000) + slope * (time - 0.25)
        wave = 0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / 8000) + generator.normal(0, 0.05, 4000)
        rows.append(Sound(wave.clip(-1, 1).astype(np.float32), 8000))
    return rows, labels


@pytest.mark.slow
def test_sounds() -> None:
    assert accuracy("logmel_lstm", tones(), epochs=25) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tfidf", "word_lstm", "word_transformer"])
def test_texts(name: str) -> None:
    rows = notes(20, 150) if name == "tfidf" else notes(6, 16)
    assert accuracy(name, rows, epochs=25) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "conv_conv_pool", "resnet18", "resnet50", "vit"])
def test_pictures(name: str) -> None:
    small = {"resnet18": {"width": 8}, "resnet50": {"width": 8}, "vit": {"width": 32}}
    epochs = 30 if name == "vit" else 6  # nothing tells it which patches are neighbours
    assert accuracy(name, digits("image"), epochs=epochs, params=small.get(name)) > 0.8
