"""The encoders `res_mlp` and `ft_transformer` (Gorishniy et al. 2021, Revisiting Deep Learning for Tabular Data)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mmbench as mb
from mmbench_tabular.cells import Cells

if TYPE_CHECKING:
    from torch import nn


class ResMLP(Cells):
    """Residual multilayer perceptron on standardised columns, to one token.

    x = [z; m], z the standardised cells and m = 1 where a cell is missing; h_0 = W x + b;
    h_i = h_{i-1} + dropout(V_i dropout(relu(U_i norm(h_{i-1})))), U_i to `width` x `widen`; the token is
    relu(norm(h_layers)), [B, 1, width]. Differs from the paper's ResNet: layer norms in place of batch norms, so that
    a batch of one trains; missing cells are told. Inner layers: each h_i.
    """

    name = "res_mlp"
    source = "https://arxiv.org/abs/2106.11959"
    space = {
        "width": mb.Choice((32, 64, 128, 256), default=64),
        "layers": mb.Int(1, 6, default=3),
        "widen": mb.Choice((1, 2, 4), default=2),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_tabular.networks import Residual

        return Residual(len(state["mean"]), **params)


class FTTransformer(Cells):
    """Feature tokenizer and Transformer: a token a column, [B, D + 1, width], class token first, or that alone.

    t_j = b_j + z_j w_j, a missing cell b_j + u_j with a learned u_j; T_0 = [class; t]; each of `layers` blocks is
    T = T + attention(norm(T)), T = T + ReGLU(norm(T)), ReGLU(x) = V (A x * relu(B x)) with 4/3 `width` inside; the
    very first norm is left out, as the paper found it should be. Given out is norm(T), all of it ("tokens") or its
    class token ("class"). Differs: keys have no bias, which attention can't see. Inner layers: T after each block.
    """

    name = "ft_transformer"
    source = "https://arxiv.org/abs/2106.11959"
    space = {
        "gives": mb.Choice(("tokens", "class"), default="tokens"),
        "width": mb.Choice((32, 64, 128, 192), default=64),
        "heads": mb.Choice((2, 4, 8), default=4),
        "layers": mb.Int(1, 4, default=2),
        "dropout": mb.Float(0.0, 0.5, default=0.1),
    }

    def build(self, state: Mapping[str, Any], params: Mapping[str, Any]) -> "nn.Module":
        from mmbench_tabular.networks import FeatureTransformer

        return FeatureTransformer(len(state["mean"]), **params)
