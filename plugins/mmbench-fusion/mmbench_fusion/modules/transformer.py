"""One pre-norm Transformer layer, as cross-attention, the late transformer, MBT and MISA use it.

Written once over `scaled_dot_product_attention`, which gives zeros where a query may attend to nothing, while
`nn.TransformerEncoderLayer` gives NaN there and takes no mask for each row. Under `torch.func.vmap` on a CPU,
run it in `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`: the fused kernel has no batching rule.
"""

from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 2
"""How much wider the feed-forward layer is than the tokens; 4 is usual for long sequences, ours are short."""


class Attention(nn.Module):
    """Multi-head self-attention: softmax(Q K' / sqrt(d)) V in each head, joined by a linear layer.

    The heads are d = width // heads wide (at least 1), so any width goes with any number of heads.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, max(1, width // heads)
        self.query_key_value = nn.Linear(width, 3 * heads * self.size)
        self.join = nn.Linear(heads * self.size, width)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """x [B, T, width]; allowed bool [B or 1, T or 1, T]: which keys a query may attend to, None for all of them.
        Gives [B, T, width]."""
        split = self.query_key_value(x).unflatten(-1, (3, self.heads, self.size))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if allowed is None else allowed.unsqueeze(1)
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined: Tensor = self.join(heads.transpose(1, 2).flatten(2))
        return joined


class Block(nn.Module):
    """y = x + attention(norm(x)), then y + W2 GELU(W1 norm(y)); dropout on both branches."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention, self.attention_norm = Attention(width, heads), nn.LayerNorm(width)
        self.wider, self.narrower = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), allowed))
        result: Tensor = x + self.dropout(self.narrower(F.gelu(self.wider(self.feed_norm(x)))))
        return result
