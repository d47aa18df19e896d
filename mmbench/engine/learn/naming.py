"""The names under which modules know the modalities. Used by `model.assemble`.

A modality is called what its table calls it, and a torch module can't hold a child of every name: not "values", which
is a method of `nn.ModuleDict`, and none with a dot in it. Parts are given another name for such a modality, and only
for such a one; records, parameters and boards keep the real one.
"""

from collections.abc import Iterable

from torch import nn

TAKEN = frozenset({*dir(nn.ModuleDict()), *dir(nn.ParameterDict()), *dir(dict)})
"""What a module that is keyed by modality has as attributes already."""


def inner_names(modalities: Iterable[str]) -> dict[str, str]:
    """{modality: the name that parts are given for it}; no two alike, the same in every process."""
    names = list(modalities)
    found = {name: name for name in names if not _is_taken(name)}
    for name in sorted(names):
        if name not in found:
            other = name.replace(".", "_")
            while _is_taken(other) or other in found.values():
                other += "_"
            found[name] = other
    return {name: found[name] for name in names}


def _is_taken(name: str) -> bool:
    return "." in name or name in TAKEN
