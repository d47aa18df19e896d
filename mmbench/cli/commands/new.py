"""`mmbench new`: a plugin folder that works as it stands, to be changed into one's own."""

import importlib.util
import keyword
import sys
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError, PluginError


class What(StrEnum):
    """What `new` can begin."""

    fusion = "fusion"


def new(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="fusion", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and _.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where to make the folder.")] = Path(),
    plugin: options.Plugins = None,
) -> None:
    """Begin a plugin of your own.

    Makes a folder with a working fusion, its contract test and its packaging.

    \b
    Examples:
      mmbench new fusion mine
      mmbench new fusion mine --to ~/plugins
    """
    from mmbench import plugins

    _check_name(name)
    if name in plugins.load(plugin or ()).fusions:
        raise PluginError(f"a fusion named {name!r} is there already: choose another name (mmbench info fusion.{name})")
    folder = to / f"mmbench-{name.replace('_', '-')}"
    if folder.exists():
        raise MMBenchError(f"{folder} exists already: choose another name or --to another folder")
    try:
        _write(folder, name)
    except OSError as error:
        raise MMBenchError(f"can't write {folder}: {error.strerror}") from error
    terminal.show(
        f"made {folder}: a fusion that works, to be changed into yours",
        "",
        f"  mmbench check {folder / name}.py",
        f"  mmbench run starter --plugin {folder / name}.py --contender {name} --contender concat",
        f'  pip install -e "{folder}" && pytest {folder}      then --plugin is not needed',
    )


def _check_name(name: str) -> None:
    """Refuse what can't name a part, or would hide a module from everyone who installs the plugin."""
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or keyword.iskeyword(name):
        raise PluginError(f"{name!r} can't name a fusion: use lower-case letters, digits and _, a letter first")
    if name.startswith("_") or name == "test" or name in sys.stdlib_module_names or importlib.util.find_spec(name):
        raise PluginError(f"{name!r} can't name a plugin's module: Python has another of that name; try 'my_{name}'")


def _write(folder: Path, name: str) -> None:
    words = {
        "name": name,
        "distribution": folder.name,
        "title": "".join(word.capitalize() for word in name.split("_")) or name.capitalize(),
    }
    (folder / "tests").mkdir(parents=True)
    for path, text in (
        ("pyproject.toml", PYPROJECT),
        (f"{name}.py", FUSION),
        (f"tests/test_{name}.py", TEST),
        ("README.md", README),
    ):
        (folder / path).write_text(Template(text).substitute(words), encoding="utf-8")


PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The fusion $name for mmbench"
requires-python = ">=3.11"
dependencies = ["mmbench"]

[project.optional-dependencies]
test = ["mmbench[test]"]

[project.entry-points.mmbench]
$name = "$name"

[tool.hatch.build.targets.wheel]
include = ["$name.py"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""

FUSION = '''\
"""The fusion `$name`: change the equation, the space and this text into yours."""

import mmbench as mb
import torch
from torch import nn


class Module(nn.Module):
    def __init__(self, inputs, width, scale):
        super().__init__()
        self.project = nn.ModuleDict({m: nn.Linear(spec.width, width) for m, spec in inputs.items()})
        self.scale = scale

    def forward(self, features):  # {modality: Features(tokens [B, T, D], mask [B, T])}
        terms = [torch.tanh(self.project[m](f.pooled)) * f.present.unsqueeze(1) for m, f in features.items()]
        return self.scale * sum(terms)  # [B, width]


class $title(mb.Fusion):
    """A scaled sum of squashed projections.

    v = s * sum_m tanh(W_m x_m + b_m)

    x_m [B, D_m] is the mean of the tokens of modality m. A missing modality adds nothing.
    """

    name = "$name"
    source = ""  # where it was published: a DOI, an arXiv id or an address
    space = {"scale": mb.Float(0.1, 10.0, log=True, default=1.0)}

    def build(self, inputs, width, params):  # {modality: FeatureSpec(width, tokens)}
        return Module(inputs, width, **params)


@mb.hookimpl
def mmbench_fusions():
    return [$title]
'''

TEST = '''\
"""The contract: shapes, gradients, missing modalities, cohorts. Add a test of your equation below it."""

from mmbench.testing.fusion import FusionContract

from $name import $title


class Test$title(FusionContract):
    part = $title
'''

README = """\
# $distribution

The fusion `$name` for mmbench.

    mmbench check $name.py                       # the contract tests
    mmbench run starter --plugin $name.py --contender $name --contender concat

Installed, it is found by its entry point, with no `--plugin`:

    pip install -e ".[test]"
    pytest
    mmbench info $name
"""
