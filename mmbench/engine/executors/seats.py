"""The seats of this machine: a core each on a CPU, a GPU each (or a share of one) on a machine that has some."""

from collections.abc import Mapping

from mmbench.api.executor import Seat
from mmbench.errors import MMBenchError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_count() -> int:
    """How many GPUs torch can use here; none is opened for it."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def seats(device: str, workers: int | None, *, cores: int, gpus: int) -> tuple[Seat, ...]:
    """One for each of `workers`: by default for each core, or for each GPU. On GPUs they are dealt out in turn, so that
    several share one only if there are more of them. A device with a number is one GPU, which all share.

    Raises MMBenchError if there is no such device.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return tuple(Seat(str(place)) for place in range(workers or cores))
    if not gpus:
        raise MMBenchError(f"device {device}: torch finds no GPU here; write --device cpu")
    if number and int(number) >= gpus:
        known = "cuda:0 only" if gpus == 1 else f"cuda:0 to cuda:{gpus - 1}"
        raise MMBenchError(f"device {device}: there is no such GPU, but {known}")
    given = [int(number)] if number else list(range(gpus))
    count = workers or len(given)
    return tuple(Seat(str(place), f"{kind}:{given[place % len(given)]}") for place in range(count))


def environ_of(seat: Seat, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process on the seat: of the GPUs that `environ` shows it sees its own alone."""
    number = seat.device.partition(":")[2]
    if not number:
        return dict(environ)
    shown = [name.strip() for name in environ.get(VISIBLE, "").split(",") if name.strip()]
    return {**environ, VISIBLE: shown[int(number)] if shown else number}
