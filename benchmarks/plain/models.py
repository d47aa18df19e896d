"""The four models of the loop benchmark as a user would write them: plain modules, tensors in, logits out.

Layers stand in the order of mmbench's own models, so that weights are copied parameter by parameter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Perceptron(nn.Sequential):
    """[B, inputs] to [B, width], dense layers."""

    def __init__(self, inputs: int, width: int, dropout: float, *, layers: int = 2):
        super().__init__()
        for index in range(layers):
            before = width if index else inputs
            self.extend([nn.Linear(before, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)])


class LeNet(nn.Module):
    """[B, 1, S, S] to [B, width]: blocks of convolution, norm, ReLU and pooling, channels doubling, as MultiBench's."""

    def __init__(self, size: int, channels: int, blocks: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for block in range(blocks):
            after = channels * 2**block
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            before = after
        self.maps = nn.Sequential(*layers)
        self.dense = nn.Linear(before * (size // 2**blocks) ** 2, width)

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.dense(self.maps(image).flatten(1))
        return found


class Recurrent(nn.Module):
    """[B, T, channels] to [B, width]: dense patches of 2 s steps every s steps, a GRU over them, the mean."""

    def __init__(self, channels: int, stride: int, width: int, dropout: float):
        super().__init__()
        self.stride = stride
        self.dense = nn.Linear(2 * stride * channels, width)
        self.norm = nn.LayerNorm(width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor) -> Tensor:
        half = self.stride // 2
        blocks = F.pad(steps, (0, 0, half, half)).unflatten(1, (-1, self.stride)).flatten(2)
        patches = torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=-1)
        hidden = torch.relu(self.norm(self.dense(patches)))
        found: Tensor = self.recurrent(self.dropout(hidden))[0].mean(1)
        return found


class Projection(nn.Sequential):
    """[B, T, inputs] to [B, T, width]: what is learned on top of frozen features."""

    def __init__(self, inputs: int, width: int, dropout: float):
        super().__init__(nn.LayerNorm(inputs, elementwise_affine=False), nn.Dropout(dropout), nn.Linear(inputs, width))


class Concat(nn.Module):
    """Encoders side by side, their vectors joined, a linear layer, a head."""

    def __init__(self, encoders: list[nn.Module], joined: int, width: int, classes: int, dropout: float):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.fusion = nn.Linear(joined, width)
        self.output = head(width, classes, dropout)

    def forward(self, *views: Tensor) -> Tensor:
        encoded = [encoder(view) for encoder, view in zip(self.encoders, views, strict=True)]
        logits: Tensor = self.output(self.fusion(torch.cat(encoded, dim=1)))
        return logits


class Block(nn.Module):
    """A pre-norm Transformer layer."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.query_key_value, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.wider, self.narrower = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.feed_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, width = x.shape
        split = self.query_key_value(self.attention_norm(x)).view(count, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        heads = F.scaled_dot_product_attention(query, key, value)
        x = x + self.dropout(self.join(heads.transpose(1, 2).flatten(2)))
        changed: Tensor = x + self.dropout(self.narrower(F.gelu(self.wider(self.feed_norm(x)))))
        return changed


class Attending(nn.Module):
    """A class token and a projected token of each view [B, width'] through Transformer layers, to [B, width]."""

    def __init__(self, inputs: list[int], width: int, *, layers: int, heads: int, dropout: float):
        super().__init__()
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.project = nn.ModuleList(nn.Linear(size, width) for size in inputs)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, views: list[Tensor]) -> Tensor:
        projected = [project(view) for project, view in zip(self.project, views, strict=True)]
        tokens = torch.stack([self.class_token[:, 0].expand_as(projected[0]), *projected], dim=1)
        vector: Tensor = self.norm(self.blocks(tokens)[:, 0])
        return vector


class LateTransformer(nn.Module):
    """Each view's mean token, a Transformer over the views, a head."""

    def __init__(self, encoders: list[nn.Module], fusion: Attending, width: int, classes: int, dropout: float):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion
        self.output = head(width, classes, dropout)

    def forward(self, *views: Tensor) -> Tensor:
        encoded = [encoder(view).mean(1) for encoder, view in zip(self.encoders, views, strict=True)]
        logits: Tensor = self.output(self.fusion(encoded))
        return logits


def head(width: int, classes: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))
