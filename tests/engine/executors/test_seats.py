"""Seats: how many, on which device, and what a process on one is shown."""

import pytest

from mmbench.api.executor import Seat
from mmbench.engine.executors.seats import VISIBLE, environ_of, seats
from mmbench.errors import MMBenchError


def devices(device: str, workers: int | None, *, cores: int = 64, gpus: int = 0) -> list[str]:
    found = seats(device, workers, cores=cores, gpus=gpus)
    assert len({seat.name for seat in found}) == len(found)
    assert {seat.cores for seat in found} == {1}
    return [seat.device for seat in found]


def test_a_cpu_has_a_seat_for_each_core_or_as_many_as_are_asked_for() -> None:
    assert devices("cpu", None, cores=3) == ["cpu"] * 3
    assert devices("cpu", 5, cores=3) == ["cpu"] * 5
    assert devices("cpu", None, cores=2, gpus=4) == ["cpu"] * 2, "the GPUs of this machine are not asked for"


def test_gpus_have_a_seat_each_and_share_evenly_if_more_are_asked_for() -> None:
    assert devices("cuda", None, gpus=4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert devices("cuda", 2, gpus=4) == ["cuda:0", "cuda:1"]
    assert devices("cuda", 5, gpus=2) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_a_gpu_that_is_named_is_the_only_one() -> None:
    assert devices("cuda:1", None, gpus=4) == ["cuda:1"]
    assert devices("cuda:1", 3, gpus=4) == ["cuda:1"] * 3


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda", 0, "device cuda: torch finds no GPU here; write --device cpu"),
        ("cuda:0", 0, "device cuda:0: torch finds no GPU here; write --device cpu"),
        ("cuda:1", 1, "device cuda:1: there is no such GPU, but cuda:0 only"),
        ("cuda:7", 4, "device cuda:7: there is no such GPU, but cuda:0 to cuda:3"),
    ],
)
def test_a_gpu_that_is_not_there(device: str, gpus: int, message: str) -> None:
    with pytest.raises(MMBenchError) as caught:
        devices(device, None, gpus=gpus)
    assert str(caught.value) == message


def test_a_process_sees_its_own_gpu_alone() -> None:
    seat = Seat("0", "cuda:1")
    assert environ_of(seat, {"A": "b"}) == {"A": "b", VISIBLE: "1"}
    assert environ_of(seat, {VISIBLE: "2,3"}) == {VISIBLE: "3"}, "the second of those that are shown"
    assert environ_of(seat, {VISIBLE: "GPU-a, MIG-b"}) == {VISIBLE: "MIG-b"}
    assert environ_of(Seat("0"), {"A": "b"}) == {"A": "b"}
