"""The short versions of chaos and of the soak, and that both can fail."""

from pathlib import Path

import pytest

from tests.chaos.folder import Rows, leftovers
from tests.chaos.points import PHASES, chains
from tests.chaos.soak import Sample, slope, soak
from tests.chaos.story import chaos

SEED = 20
POINTS = 16


def test_points_follow_from_the_seed_and_cover_every_phase() -> None:
    assert chains(POINTS, SEED) == chains(POINTS, SEED) != chains(POINTS, SEED + 1)
    points = [point for chain in chains(POINTS, SEED) for point in chain]
    assert len(points) >= POINTS
    assert {point.phase for point in points} == set(PHASES)
    assert {point.victim for point in points} >= {"group", "parent", "worker"}


@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="kills by what Linux tells of processes")
def test_killed_at_every_phase_a_run_ends_in_the_same_table(tmp_path: Path) -> None:
    """Some kills of the whole group, the parent alone, a worker, or the server that workers come from; as many as you
    like with `python -m tests.chaos`."""
    story = chaos(tmp_path, points=POINTS, seed=SEED)
    assert not story.faults, story
    assert story.points >= POINTS - 2, story
    assert {phase for phase, _ in story.made} == set(PHASES), story


@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="looks into /proc")
def test_a_soak_of_some_dozens_of_cells(tmp_path: Path) -> None:
    found = soak(tmp_path, cells=36)
    assert not found.faults, found
    assert found.readings > 10, found


def test_what_is_repeated_or_left_behind_is_seen(tmp_path: Path) -> None:
    line = '{"seq":0,"kind":"trial","row":{"cell":"a","number":3},"prev":"","sha256":""}\n'
    (tmp_path / "trials.jsonl").write_text(line + line + line[:20])
    assert Rows(tmp_path).repeated() == [("trial", "a", 3)]
    assert Rows(tmp_path).count("trial") == 2, "a torn line is no row"
    (tmp_path / "x.draft-1").mkdir()
    assert len(leftovers(tmp_path)) == 1


def test_a_leak_is_seen() -> None:
    leak = [Sample(cells=n, seconds=n, memory=10**8 + 50_000 * n, files=9) for n in range(50)]
    assert slope(leak, "memory") == pytest.approx(50_000)
    assert slope(leak, "files") == 0
