"""The roles that a part can play, in one table: plugins, the command line and the engine loop over it.

A new role is a base class in `parts`, a hook in `mmbench.hookspecs`, a row here and a shelf in the Catalog. Its
contract is the class NAMEContract of `mmbench.testing.NAME`, and `mmbench new NAME` begins one.
"""

from dataclasses import dataclass

from mmbench.api.parts import Corruption, Dataset, Encoder, Fusion, Metric, Objective, Part
from mmbench.api.parts.compressor import Compressor
from mmbench.api.parts.head import Head
from mmbench.api.parts.training import Optimizer, Schedule


@dataclass(frozen=True)
class Role:
    """What parts of one kind are called, which class they inherit, and what each must state beside its name."""

    name: str
    base: type[Part]
    needs: tuple[str, ...] = ()

    @property
    def plural(self) -> str:
        """The name of the shelf, and of the rows in `mmbench list`."""
        return f"{self.name}s"

    @property
    def hook(self) -> str:
        """The hook by which plugins bring such parts."""
        return f"mmbench_{self.plural}"

    @property
    def contract(self) -> tuple[str, str]:
        """The module and the class of its contract tests."""
        return f"mmbench.testing.{self.name}", f"{self.name.capitalize()}Contract"


ROLES = (
    Role("dataset", Dataset, needs=("columns", "target", "licence")),
    Role("encoder", Encoder, needs=("kind",)),
    Role("fusion", Fusion),
    Role("objective", Objective),
    Role("optimizer", Optimizer),
    Role("schedule", Schedule),
    Role("compressor", Compressor),
    Role("head", Head, needs=("target",)),
    Role("metric", Metric, needs=("targets",)),
    Role("corruption", Corruption, needs=("kinds",)),
)
"""In the order in which they are listed."""
