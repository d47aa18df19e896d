"""`mmbench list` and `mmbench info`: what the Catalog holds, and one part or suite in full."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbench.api.roles import ROLES
from mmbench.cli import options, terminal
from mmbench.errors import SuiteError, unknown

if TYPE_CHECKING:
    from mmbench.api.data import Target, Task
    from mmbench.api.parts import Part
    from mmbench.api.space import Parameter
    from mmbench.api.suite import Suite, TaskSpec
    from mmbench.plugins import Catalog

WHAT = (*(role.plural for role in ROLES), "executors", "suites")


def listing(
    what: Annotated[
        str | None, typer.Argument(metavar="[WHAT]", help=f"{', '.join(WHAT)}; all if absent.", show_default=False)
    ] = None,
    form: Annotated[
        options.Form, typer.Option("--format", metavar="|".join(options.Form), help="How to print.")
    ] = options.Form.table,
    plugin: options.Plugins = None,
) -> None:
    """List the parts that the plugins bring, and the suites.

    \b
    Examples:
      mmbench list
      mmbench list fusions
      mmbench list encoders --format json
      mmbench list fusions --plugin my_fusion.py
    """
    from mmbench import plugins

    if what is not None and what not in WHAT:
        raise SuiteError(unknown("kind of part", what, WHAT))
    catalog = plugins.load(plugin or ())
    rows = [row for group in WHAT if what in (None, group) for row in _rows(group, catalog)]
    if form is options.Form.json:
        terminal.show_json([{key: value for key, value in row.items() if key != "about"} for row in rows])
        return
    columns = ("name", *(() if what else ("kind",)), "about", "summary", "distribution")
    terminal.show(terminal.table(columns, [[row[column] for column in columns] for row in rows]))


def _rows(group: str, catalog: "Catalog") -> list[dict[str, str]]:
    if group == "suites":
        return _suite_rows()
    if group == "executors":
        return _executor_rows(catalog)
    from mmbench.plugins import summary

    shelf = catalog.shelves()[group]
    rows = []
    for name, part in shelf.items():
        row = {"name": name, "kind": part.role, "summary": summary(part), "source": part.source}
        if part.role == "encoder":
            row["reads"] = part.kind  # type: ignore[attr-defined]
        rows.append(row | {"distribution": shelf.origins[name].distribution, "about": part.about})
    return rows


def _executor_rows(catalog: "Catalog") -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "kind": "executor",
            "summary": (inspect.getdoc(executor) or "").partition("\n")[0],
            "source": "",
            "distribution": catalog.executors.origins[name].distribution,
            "about": "runs the jobs: mmbench run --executor",
        }
        for name, executor in catalog.executors.items()
    ]


def _suite_rows() -> list[dict[str, str]]:
    from mmbench.store import suitefile

    rows = []
    for name, path in _suites().items():
        suite = suitefile.read(path)
        tasks, contenders = len(suite.tasks), len(suite.contenders)
        rows.append(
            {
                "name": name,
                "kind": "suite",
                "summary": suite.description,
                "source": str(path),
                "distribution": "mmbench" if suitefile.installed().get(name) == path else "",
                "about": f"{tasks} tasks, {contenders} contenders",
            }
        )
    return rows


def _suites() -> dict[str, Path]:
    """Every suite that `mmbench run NAME` finds: the installed ones, and those in ./suites before them."""
    from mmbench.store import suitefile

    return {**suitefile.installed(), **{path.stem: path for path in sorted(Path("suites").glob("*.toml"))}}


def info(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A part, a suite or its file; KIND.NAME where two share a name.")
    ],
    plugin: options.Plugins = None,
) -> None:
    """Show one part or suite in full.

    What it does, where it comes from, what may be tuned, and which datasets it fits. Of a suite with data of its own:
    what was understood of them.

    \b
    Examples:
      mmbench info gated
      mmbench info encoder.cnn
      mmbench info starter
      mmbench info my_data.toml
      mmbench info mine --plugin my_fusion.py
    """
    from mmbench import plugins
    from mmbench.store import suitefile

    catalog = plugins.load(plugin or ())
    suites = _suites()
    kind, _, own = name.rpartition(".")
    found = [
        (shelf.role, shelf[own]) for shelf in catalog.shelves().values() if own in shelf and kind in ("", shelf.role)
    ]
    suite = suites.get(own) if kind in ("", "suite") else None
    if Path(name).suffix == ".toml":
        suite = suitefile.find(name)
    for role, part in found:
        _show_part(part, catalog.shelves()[f"{role}s"].origins[own].distribution, catalog)
    if suite:
        _show_suite(suitefile.read(suite), str(suite), catalog)
    if not found and not suite:
        every = [part for shelf in catalog.shelves().values() for part in shelf]
        raise SuiteError(unknown("part or suite", name, [*every, *suites]))


def _show_part(part: "Part", distribution: str, catalog: "Catalog") -> None:
    width = terminal.console().width
    text = terminal.fitted(inspect.getdoc(type(part)) or "(no description)", width)
    facts = [f"{key:<13} {value}" for key, value in _facts(part, distribution, catalog) if value]
    terminal.show(f"{part.role} {part.name}", "", text, "", *(terminal.fitted(f, width, hanging=14) for f in facts))
    if part.space:
        rows = [_parameter_row(name, parameter) for name, parameter in part.space.items()]
        terminal.show("", terminal.table(("parameter", "values", "default", "only if", "stage"), rows))
    if part.role == "dataset":
        _show_report(part.name, catalog)
    terminal.show("")


def _show_report(name: str, catalog: "Catalog") -> None:
    """What the rows hold, as it was counted when they were made."""
    from mmbench import preparing

    holds = preparing.data_report(catalog.datasets[name])
    unknown_yet = [f"not counted yet: mmbench prepare {name} makes the data and shows what they hold"]
    terminal.show("", *(holds or unknown_yet))


def _facts(part: "Part", distribution: str, catalog: "Catalog") -> list[tuple[str, str]]:
    from mmbench.api import parts

    facts = [("source", part.source), ("distribution", distribution), ("module", type(part).__module__)]
    if isinstance(part, parts.Dataset):
        columns = ", ".join(f"{name} ({kind})" for name, kind in part.columns.items())
        facts += [("modalities", columns), ("target", str(part.target)), ("licence", part.licence)]
        facts += [(what, f"by {column!r}") for what, column in part.declared().items()]
        facts += [("citation", part.citation), ("metrics", ", ".join(_metrics(part.target, catalog)))]
        for modality, kind in part.columns.items():
            readers = ", ".join(n for n, encoder in catalog.encoders.items() if encoder.kind == kind)
            facts.append((f"{modality}:", f"read by {readers or 'no encoder'}"))
        return facts
    facts.append(("about", part.about))
    fits, misfits = _fits(part, catalog)
    facts.append(("fits", ", ".join(fits) or "no dataset that is installed"))
    return facts + [("not", f"{dataset}: {reason}") for dataset, reason in misfits]


def _metrics(target: "Target", catalog: "Catalog") -> list[str]:
    return [name for name, metric in catalog.metrics.items() if target.type in metric.targets]


def _fits(part: "Part", catalog: "Catalog") -> tuple[list[str], list[tuple[str, str]]]:
    """The datasets that the part fits, and the reasons of the others."""
    fits: list[str] = []
    misfits: list[tuple[str, str]] = []
    for name in catalog.datasets:
        task = _task(name, catalog)
        if not part.concerns(task):
            continue
        reason = part.supports(task)
        if reason is None:
            fits.append(name)
        else:
            misfits.append((name, reason))
    return fits, misfits


def _task(name: str, catalog: "Catalog") -> "Task":
    """The dataset as a task with all its modalities and the first metric that scores it."""
    from mmbench.api.data import Task

    dataset = catalog.datasets[name]
    metric = next(iter(_metrics(dataset.target, catalog)), "")
    return Task(name=name, dataset=name, modalities=dataset.columns, target=dataset.target, metric=metric)


def _parameter_row(name: str, parameter: "Parameter") -> list[str]:
    from mmbench.api.space import Choice

    if isinstance(parameter, Choice):
        values = " | ".join(map(str, parameter.options))
    else:
        values = f"{parameter.low} to {parameter.high}{', log' if parameter.log else ''}"
    when = ", ".join(f"{other} = {value}" for other, value in (parameter.when or {}).items())
    return [name, values, str(parameter.default), when, parameter.stage]


def _show_suite(suite: "Suite", path: str, catalog: "Catalog") -> None:
    from dataclasses import asdict

    budget = ", ".join(f"{key} {value}" for key, value in asdict(suite.budget).items() if value is not None)
    terminal.show(f"suite {suite.name}", "", suite.description or "(no description)", "")
    terminal.show(f"{'file':<13} {path}", f"{'budget':<13} {budget}", f"{'seed':<13} {suite.seed}", "")
    tasks = [
        [
            task.name,
            task.dataset + _cut(task),
            task.metric,
            _encoders(task.encoders),
        ]
        for task in suite.tasks
    ]
    terminal.show(terminal.table(("task", "dataset", "metric", "encoders"), tasks), "")
    rows = [[contender.name, _contender(contender)] for contender in suite.contenders]
    terminal.show(terminal.table(("contender", "what it may use"), rows), "")
    catalog = catalog.with_own(suite.own, suite.encoders)
    if suite.encoders:
        own = [[name, catalog.encoders[name].about] for name in suite.encoders]
        terminal.show(terminal.table(("encoder", "what it is"), own), "")
    for name in suite.own:
        _show_own(name, catalog)


def _show_own(name: str, catalog: "Catalog") -> None:
    """What was understood of data that a suite describes; they are read now, unless the cache has them."""
    from mmbench.api.carrier import cache_folder
    from mmbench.engine.data import report, sample
    from mmbench.engine.data.tables import examine, materialise

    table = materialise(catalog.datasets[name], cache_folder())
    width = terminal.console().width
    told = [*report.lines(examine(table)), "", *sample.lines(table)]
    terminal.show(
        f"data of {name}", "", *(terminal.fitted(terminal.one_line(line), width, hanging=4) for line in told), ""
    )


def _cut(task: "TaskSpec") -> str:
    """How its rows are cut, if another way than by the data set's own splits."""
    folds = f" in {task.folds} folds{f' by {task.by}' if task.by else ''}" if task.folds else ""
    sizes = ", ".join(f"{size:,}" for size in task.train_sizes)
    return folds + (f" with {sizes} train rows" if sizes else "")


def _encoders(encoders: Any) -> str:
    return "; ".join(f"{modality}: {', '.join(names)}" for modality, names in encoders.items()) or "all that fit"


def _contender(spec: Any) -> str:
    words = [f"fusion {' | '.join(spec.fusion)}" if spec.fusion else "every fusion that fits"]
    if spec.each_modality:
        words = ["each modality alone"]
    if spec.of:
        words = [f"the trained models of {spec.of!r}, by {' | '.join(spec.compressor)}"]
    if spec.objective:
        words.append(f"objective {' | '.join(spec.objective)}")
    if spec.optimizer:
        words.append(f"optimizer {' | '.join(spec.optimizer)}")
    if spec.schedule:
        words.append(f"schedule {' | '.join(spec.schedule)}")
    if spec.only:
        words.append(f"only {', '.join(spec.only)}")
    if spec.tasks:
        words.append(f"on {', '.join(spec.tasks)}")
    words += [f"{name} = {value}" for name, value in spec.params.items()]
    return "; ".join(words)
