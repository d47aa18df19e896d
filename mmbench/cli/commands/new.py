"""`mmbench new`: a plugin folder or a suite that works as it stands, to be changed into one's own."""

import importlib.util
import keyword
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from mmbench.cli import options, templates, terminal
from mmbench.errors import MMBenchError, PluginError


class What(StrEnum):
    """What `new` can begin."""

    fusion = "fusion"
    dataset = "dataset"
    encoder = "encoder"
    objective = "objective"
    optimizer = "optimizer"
    schedule = "schedule"
    compressor = "compressor"
    head = "head"
    metric = "metric"
    corruption = "corruption"
    suite = "suite"


KINDS = f"{', '.join(list(What)[:-1])} or {What.suite}"


def new(
    what: Annotated[What, typer.Argument(metavar="WHAT", help=KINDS, show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and _.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where to make the folder.")] = Path(),
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE_OR_FOLDER", help="Of a suite: your data. CSV, JSON lines, Parquet, ..."),
    ] = None,
    plugin: options.Plugins = None,
) -> None:
    """Begin a plugin or a suite of your own.

    Makes a folder with a working part, its contract test and its packaging; or the file of a suite.

    \b
    Examples:
      mmbench new fusion mine
      mmbench new dataset wines --to ~/plugins
      mmbench new encoder reader
      mmbench new metric worst_class
      mmbench new suite ours
      mmbench new suite ours --from birds.csv
    """
    from mmbench import plugins

    _check_name(name, what)
    catalog = plugins.load(plugin or ())
    if what is not What.suite and name in catalog.shelves()[f"{what}s"]:
        raise PluginError(f"a {what} named {name!r} is there already: choose another name (mmbench info {what}.{name})")
    folder = to if what is What.suite else to / f"mmbench-{name.replace('_', '-')}"
    made = to / f"{name}.toml" if what is What.suite else folder
    if made.exists():
        raise MMBenchError(f"{made} exists already: choose another name or --to another folder")
    if source and what is not What.suite:
        raise MMBenchError(f"--from is for a suite: mmbench new suite {name} --from {shlex.quote(str(source))}")
    task = catalog.manager.hook.mmbench_guess(name=name, source=source, folder=to) if source else None
    try:
        _write(folder, what, name, task)
    except OSError as error:
        raise MMBenchError(f"can't write {made}: {error.strerror}") from error
    said = "has guesses about your data: check them" if source else "works as it stands: change it into yours"
    show = [f"  mmbench info {shlex.quote(str(made))}"] if source else []
    terminal.show(f"made {made}, which {said}", "", *show, *_next(folder, what, name))


def _check_name(name: str, what: What) -> None:
    """Refuse what can't name a part, or would hide a module from everyone who installs the plugin."""
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or keyword.iskeyword(name):
        raise PluginError(f"{name!r} can't name a {what}: use lower-case letters, digits and _, a letter first")
    if what is What.suite:
        return
    if name.startswith("_") or name == "test" or name in sys.stdlib_module_names or importlib.util.find_spec(name):
        raise PluginError(f"{name!r} can't name a plugin's module: Python has another of that name; try 'my_{name}'")


def _write(folder: Path, what: What, name: str, task: str | None = None) -> None:
    """task: the `[[task]]` of a suite, where it is known already."""
    files = templates.files(what)
    if task:
        files = {"$name.toml": f"{templates.BUDGET}\n{task.replace('$', '$$')}{templates.CONTENDERS}"}
    words = {
        "what": {"dataset": "data set"}.get(what, what),
        "name": name,
        "distribution": folder.name,
        "title": "".join(word.capitalize() for word in name.split("_")) or name.capitalize(),
        "role": what,
        "contract": what.capitalize(),
        "dataset": name if task else {What.dataset: name, What.encoder: "uci_mfeat"}.get(what, "emoji_group"),
        "run": _run(Path(), what, name),
        "files": ", ".join(f'"{name}{path.removeprefix("$name")}"' for path in files if path.startswith("$name")),
    }
    for path, text in files.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(words), encoding="utf-8")


def _next(folder: Path, what: What, name: str) -> list[str]:
    """What to type now."""
    place, module = shlex.quote(str(folder)), shlex.quote(str(folder / f"{name}.py"))
    if what is What.suite:
        suite = shlex.quote(str(folder / f"{name}.toml"))
        return [f"  mmbench plan {suite}", f"  mmbench run {suite}"]
    return [
        f"  mmbench check {module}",
        f"  mmbench run {_run(folder, what, name)}",
        f"  pip install -e {place} && pytest {place}      then --plugin is not needed",
    ]


def _run(folder: Path, what: What, name: str) -> str:
    """What `mmbench run` is given to run it, from where `folder` is."""
    module, suite = shlex.quote(str(folder / f"{name}.py")), shlex.quote(str(folder / "suite.toml"))
    if what is What.fusion:
        return f"starter --plugin {module} --contender {name} --contender concat"
    return f"{suite} --plugin {module}"
