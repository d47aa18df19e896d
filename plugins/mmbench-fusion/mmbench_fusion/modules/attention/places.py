"""What several attending modules share: a layer that reads another sequence, and where a token stands."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mmbench_fusion.modules.transformer import Block


class CrossBlock(Block):
    """A pre-norm Transformer layer whose keys and values come from another sequence, under the same norm."""

    def reading(self, x: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
        """x [B, T, width], context [B, S, width], allowed bool [B, S]: which of its tokens are there; [B, T, width].

        Where none is there, x passes by the attention's bias alone.
        """
        attention = self.attention
        size = attention.heads * attention.size
        weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
        query = F.linear(self.attention_norm(x), weight[:size], bias[:size])
        key, value = F.linear(self.attention_norm(context), weight[size:], bias[size:]).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (attention.heads, attention.size)).transpose(1, 2) for part in (query, key, value)
        )
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed[:, None, None])
        x = x + self.dropout(attention.join(heads.transpose(1, 2).flatten(2)))
        result: Tensor = x + self.dropout(self.narrower(F.gelu(self.wider(self.feed_norm(x)))))
        return result


def sinusoids(tokens: int, width: int, like: Tensor) -> Tensor:
    """The places 0..tokens-1 as sines (even columns) and cosines (odd ones) of falling frequency, [tokens, width]."""
    columns = torch.arange(width, device=like.device)
    rate = torch.exp(-math.log(10000.0) * (columns - columns % 2) / width)
    angles = torch.arange(tokens, device=like.device).unsqueeze(1) * rate
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos()).to(like.dtype)
