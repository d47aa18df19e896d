"""`mmbench export` takes a run's winner along, `mmbench predict` uses it."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from mmbench.cli.live import Meter
    from mmbench.engine.events import Event
    from mmbench.exports.loading import Export


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    cell: Annotated[str, typer.Option(metavar="CELL", help="TASK/CONTENDER, or a cell's key.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write, which must not be there yet.")],
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="safetensors|onnx|torch",
            help="A graph beside the weights: onnx, or torch for torch.export. Repeatable.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=0,
            help="The refit of this seed number; the best on validation if absent.",
            show_default=False,
        ),
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the refit again if its weights were not kept.")
    ] = False,
    device: options.Device = "auto",
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a trained model of a run to a folder, to be used without the run.

    The weights as safetensors, what was learned of train to prepare rows, and export.json: parts, parameters,
    classes, scores. What is written predicts test before it is handed out, and must predict what the run has
    stored. Nothing in it is executed when it is loaded.

    \b
    Examples:
      mmbench export starter --cell uci_mfeat/concat --to exported
      mmbench export starter --cell uci_mfeat/concat --to exported --format onnx --retrain
    """
    from mmbench import plugins, session
    from mmbench.api.carrier import cache_folder
    from mmbench.cli.live import Meter
    from mmbench.exports import taking

    found = session.find_run(run, results)
    with Meter(quiet=quiet) as meter:
        made, notes = taking.take(
            found.data,
            plugins.load(plugin or ()),
            cell,
            to,
            cache=cache_folder(),
            seed=seed,
            formats=form or (),
            retrain=retrain,
            device=session.pick_device(device),
            on_event=lambda event: _progress(event, meter),
        )
    _conclude(made, notes, to)


def _progress(event: "Event", meter: "Meter") -> None:
    from mmbench.engine.events import Progress

    if isinstance(event, Progress):
        meter(event.label, event.done, event.total)


def _conclude(made: "Export", notes: Sequence[str], to: Path) -> None:
    said = made.manifest
    difference = said.refit.difference
    held = "the run has no predictions to hold it against"
    if difference is not None:
        held = f"it predicts what was stored of test (largest difference {difference:.2g})"
    again = ", trained again" if said.refit.retrained else ""
    terminal.show(terminal.one_line(f"{said.task}/{said.contender}, seed {said.refit.seed}{again}: {held}"))
    terminal.show(*(f"  {terminal.one_line(note)}" for note in notes))
    terminal.show(f"  {terminal.one_line(f'licence of {said.data.name}: {said.data.licence}')}")
    rows = "rows.csv" if said.data.table is not None else "--split test"
    terminal.show(f"written to {to}; next:", f"  mmbench predict {to} {rows} --to predictions.csv")


def predict(
    export: Annotated[str, typer.Argument(metavar="EXPORT", help="The folder of an export.")],
    rows: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Rows of the form of the suite's [task.data].", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT", help="A split of the task's own data, instead of a file: test, ...", show_default=False
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV to write, instead of stdout.", show_default=False)
    ] = None,
    plugin: options.Plugins = None,
) -> None:
    """Predict rows with an exported model: a CSV with a line for each.

    Rows are read as the suite's [task.data] says, but need no target; paths to pictures are relative to the file.
    They are prepared by what was learned of train. A row that can't be read is named by file, row and column, and
    nothing is written. Labels come with the probability of each class.

    \b
    Examples:
      mmbench predict exported rows.csv
      mmbench predict exported rows.csv --to predictions.csv
      mmbench predict exported --split test
    """
    from mmbench.exports.loading import load_export

    if (rows is None) == (split is None):
        raise MMBenchError("give a file of rows, or --split test")
    if rows is not None and not rows.is_file():
        raise MMBenchError(f"{rows} does not exist")
    made = load_export(export, plugin or ())
    if made.differences:
        terminal.warn(f"predictions may be others than they were: {'; '.join(made.differences)}")
    found = made.predict_file(rows) if rows is not None else made.predict_split(split or "test")
    table: Mapping[str, Sequence[Any]] = {"row": found.rows, **made.answers(found.predictions)}
    if to is None:
        _write(sys.stdout, table)
        return
    try:
        with to.open("w", encoding="utf-8", newline="") as file:
            _write(file, table)
    except OSError as error:
        raise MMBenchError(f"{to} can't be written: {error.strerror}") from error
    terminal.show(f"{len(found.rows):,} predictions in {to}")


def _write(file: TextIO, table: Mapping[str, Sequence[Any]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(map(_cell, column) for column in table.values()), strict=True))


def _cell(value: Any) -> Any:
    """Single precision has nine digits."""
    return f"{value:.9g}" if isinstance(value, float) else value
