"""Built-in fusions: how several modalities' features become one vector, or one decision.

Parts stand by family, each with its equation and its search space; the torch modules are in `modules`, in a
file of the same name, imported only when a part is built. A family of several files is a package; those that are a
file alone stay where they are, as a part's identity depends on what its code imports.
"""

import mmbench as mb
from mmbench_fusion.attention.crossing import CoAttention, Mult
from mmbench_fusion.attention.joint import EarlyTransformer, Perceiver
from mmbench_fusion.attention.plain import ContextualAttention, NlGate
from mmbench_fusion.baseline import Forest, Logistic, Majority
from mmbench_fusion.boosting import Boosting
from mmbench_fusion.decision import Dot, MeanLogits, Tmc
from mmbench_fusion.ensemble import Etmc, Ume
from mmbench_fusion.experts.graph import Graph
from mmbench_fusion.experts.mixture import DynMm, I2moe, Moe
from mmbench_fusion.feature import Film, Max, Multiplicative, Product
from mmbench_fusion.gating.rescaling import Mag, Mmtm
from mmbench_fusion.generative.split import Mctn, Mfm, ShaSpec
from mmbench_fusion.generative.variational import Dmvae, Mvae
from mmbench_fusion.hierarchy.pairs import Pairwise, Tree
from mmbench_fusion.joining.blocks import BlockTerm
from mmbench_fusion.joining.wide import ConcatLinear, StackedCnn
from mmbench_fusion.latent import Misa
from mmbench_fusion.memory.stepwise import MemoryFusion
from mmbench_fusion.tensor import Mcb, Mfb, Mfh, Mlb, Mutan, TensorFusion
from mmbench_fusion.tokens import Bottleneck, CrossAttention, LateTransformer
from mmbench_fusion.vector import Attention, Concat, Gated, LowRank, Mean, Sum, Weighted
from mmbench_fusion.voting.pools import Ecml, LearnedVote, ProductOfExperts
from mmbench_fusion.voting.quality import Pdf, Qmf


@mb.hookimpl
def mmbench_fusions() -> list[type[mb.Fusion]]:
    vector: list[type[mb.Fusion]] = [Concat, Sum, Mean, Weighted, Gated, Attention, LowRank]
    products: list[type[mb.Fusion]] = [Max, Product, Film, Multiplicative, TensorFusion, Mlb, Mutan, Mfb, Mfh, Mcb]
    joined: list[type[mb.Fusion]] = [ConcatLinear, StackedCnn, BlockTerm, Mmtm, Mag]
    tokens: list[type[mb.Fusion]] = [CrossAttention, LateTransformer, Bottleneck]
    attending: list[type[mb.Fusion]] = [
        *(Mult, CoAttention, EarlyTransformer, Perceiver, NlGate, ContextualAttention, MemoryFusion),
    ]
    experts: list[type[mb.Fusion]] = [Moe, I2moe, DynMm, Graph, Pairwise, Tree]
    latent: list[type[mb.Fusion]] = [Misa, ShaSpec, Mfm, Mctn, Mvae, Dmvae]
    decisions: list[type[mb.Fusion]] = [
        *(MeanLogits, LearnedVote, ProductOfExperts, Ume, Qmf, Pdf, Tmc, Etmc, Ecml, Dot),
    ]
    return [
        *vector,
        *products,
        *joined,
        *tokens,
        *attending,
        *experts,
        *latent,
        *decisions,
        Majority,
        Logistic,
        Forest,
        Boosting,
    ]
