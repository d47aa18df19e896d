"""What every part has: a name, a source, a declared space, what it reads, and which tasks it fits.

A part imports torch only inside `build`, so that listing parts is instant. Tensors are batch first: B rows, T tokens, D
width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mmbench.api.data import Task
from mmbench.api.space import Space

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Arrays: TypeAlias = "dict[str, Array]"
State: TypeAlias = Mapping[str, Any]
"""What a part's `fit` gives: numpy arrays, and what JSON can hold."""


class Part:
    """What every part has. The first line of its docstring is its summary on `mmbench list`."""

    role: ClassVar[str]
    name: ClassVar[str]
    source: ClassVar[str] = ""
    """Where the method was published: a DOI, an arXiv id or an address."""
    space: ClassVar[Space] = {}
    usual: ClassVar[bool] = False
    """Whether it is the one of its role that is taken where nobody chooses, and the one that a search begins with."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules of other packages that take long to import and that it needs: a run loads them once for all workers, if
    parts that come with mmbench name them, too."""

    def supports(self, task: Task) -> str | None:
        """None if the part fits `task`, else the reason why not, as the board shows it."""
        return None

    def files(self) -> Sequence[Path]:
        """Files and folders that it reads beside its code, such as weights or a word list: they belong to what it is.

        A file beside the code whose name stands in the code as a string need not be named.
        """
        return ()

    @property
    def about(self) -> str:
        """In a few words, for lists: what it reads, damages or scores."""
        return ""

    def kinds_read(self) -> Sequence[str]:
        """The kinds of modality that it names."""
        return ()

    def problem(self) -> str | None:
        """What is wrong with what it declares, so that it can't be loaded; None if nothing is."""
        return None

    def concerns(self, task: Task) -> bool:
        """Whether it has to do with such a task at all; if not, no reason is listed why it does not fit."""
        return not self.kinds_read() or bool(set(self.kinds_read()) & set(task.modalities.values()))
