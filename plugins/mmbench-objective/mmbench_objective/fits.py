"""Which tasks an objective fits, as reasons. Used by the parts of several files here."""

import mmbench as mb


def needs_modalities(task: mb.Task, count: int = 2) -> str | None:
    words = {2: "two", 3: "three"}
    return f"needs at least {words[count]} modalities" if len(task.modalities) < count else None


def needs_target(task: mb.Task, *kinds: str) -> str | None:
    """Why a linear layer of each modality can't be asked for the target, or it is of none of these kinds."""
    allowed = kinds or ("label", "labels", "number")
    kind = task.target.type
    return None if kind in allowed else f"is for {', '.join(allowed)}, not for {kind}"
