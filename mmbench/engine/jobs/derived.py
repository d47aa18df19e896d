"""Derived models: what compressors make of the models that another contender has trained.

A refit's weights are read where they were kept; where they were not, the same training is done again. Either way the
model must have the validation score that was recorded of it, or nothing is derived from it.
"""

from dataclasses import replace

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, no_grad

from mmbench.api.space import Params
from mmbench.engine.jobs.job import Trained
from mmbench.engine.jobs.workspace import Workspace
from mmbench.engine.learn.model import Model, predict
from mmbench.engine.learn.train import POOL, Fit, fit
from mmbench.engine.space import refit_seed, settings, together
from mmbench.errors import PluginError, TrainingError

TOLERANCE = 0.01
"""By how much a score may differ that was taken in another program, where rows near a border fall to either side."""


def derived(workspace: Workspace, params: Params, number: int) -> tuple[Model, Fit]:
    """The model that the compressors of `params` make of the parent's refit `number`, and its score on validation.

    Raises TrainingError if the parent's model can't be had again, PluginError if a compressor gives no model.
    """
    model = compressed(workspace, trained(workspace, number), params, number)
    return model, Fit(score=_score(workspace, model, params))


def compressed(workspace: Workspace, model: Model, params: Params, number: int) -> Model:
    """What the compressors of a configuration make of the model of refit `number`, which is theirs to change."""
    for name in together(params["compressor"]):
        part = workspace.catalog.compressors[name]
        own = settings(part, params, f"compressor.{name}")
        model.eval()
        with no_grad():
            found = part.compress(model, own)
        if not all(hasattr(found, needed) for needed in ("encode", "fuse", "predict", "head")):
            raise PluginError(f"compressor {name!r} gives {type(found).__name__}, which is no model")
        model = found  # type: ignore[assignment]
        if epochs := part.epochs(own):
            model = _trained_on(workspace, model, number, epochs)
    return model.eval().requires_grad_(False)


def _trained_on(workspace: Workspace, model: Model, number: int, epochs: int) -> Model:
    """Train a model that was changed for some epochs more, as the parent's was; the best epoch's weights count."""
    assert workspace.origin is not None
    params = workspace.origin.params
    recipe = replace(workspace.recipe(params, refit_seed(workspace.cell, number)), epochs=epochs, patience=epochs)
    fit(model, recipe, workspace.lesson(params))
    return model


def trained(workspace: Workspace, number: int) -> Model:
    """The model of the parent's refit with that seed. Raises TrainingError if it can't be had as it was."""
    origin = workspace.origin
    assert origin is not None
    refit = origin.refits[number]
    if number not in workspace.weights:
        model = _loaded(workspace, refit) if refit.weights else _again(workspace, number)
        score = _score(workspace, model, origin.params)
        if not abs(score - refit.score) <= TOLERANCE * max(1.0, abs(refit.score)):
            how = "the weights that were kept give" if refit.weights else "training it again gives"
            raise TrainingError(f"refit {number}: {how} {score:.6g} on validation, not {refit.score:.6g} as recorded")
        workspace.weights[number] = {name: value.clone() for name, value in model.state_dict().items()}
        return model
    model = workspace.model(origin.params, seed=0)
    model.load_state_dict(workspace.weights[number])
    return model


def weights(model: Model) -> bytes:
    """A model's weights and buffers as the content of a safetensors file."""
    content: bytes = save({n: value.detach().cpu().contiguous().clone() for n, value in model.state_dict().items()})
    return content


def _loaded(workspace: Workspace, refit: Trained) -> Model:
    assert workspace.origin is not None
    assert refit.weights is not None
    model = workspace.model(workspace.origin.params, seed=0)
    try:
        model.load_state_dict(load_file(refit.weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TrainingError(f"{refit.weights}: {str(error).splitlines()[0]}") from error
    return model


def _again(workspace: Workspace, number: int) -> Model:
    assert workspace.origin is not None
    params, seed = workspace.origin.params, refit_seed(workspace.cell, number)
    model = workspace.model(params, seed)
    fit(model, workspace.recipe(params, seed), workspace.lesson(params))
    return model


def _score(workspace: Workspace, model: Model, params: Params) -> float:
    found: Tensor = predict(model, workspace.inputs(params, "validation"), pool=POOL)
    return workspace.score(workspace.decoded(found.cpu().numpy()))
