"""Parts that fork their worker, write into its pipes, or fail in ways that can't be told: each is charged to its
contender in one line, and the run goes on."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbench import session
from mmbench.api.suite import Suite
from mmbench.store import reading
from tests.engine.test_failures import by_contender, small

Execute = Callable[..., session.Run]
TESTS = Path(__file__).parents[1]
PLUGINS = [str(TESTS / "toys.py"), str(TESTS / "engine" / "impostors.py")]
PLAIN = str(TESTS / "engine" / "executors" / "plain.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")
REASONS = {
    "twins": ("error", "a part has forked its process, and the copy went on in its name"),
    "scrawls": ("error", "it wrote what is no message where its messages go"),
    "unspeakable": ("error", "SilentError: its message can't be read: __str__ raises RuntimeError (impostors.py"),
    "half": ("error", r"HalfError: half \ud800 of it (impostors.py, line"),
    "recurses": ("error", "RecursionError: maximum recursion depth exceeded"),
    "plunges": ("error", "the worker crashed by SIGSEGV"),
    "forges": ("error", "the worker was stopped: it sent scores of its own making"),
    "overspends": ("error", "the worker was stopped: it began a trial 7 of 1"),
    "freezes": ("timeout", "hung: no sign of life for twice its limit"),
}


@pytest.mark.slow
def test_each_is_charged_to_its_contender_in_one_line(execute: Execute, suite: Suite) -> None:
    run = execute(small(suite, *REASONS, "concat", seconds=8.0), plugins=PLUGINS)
    records = by_contender(run)
    assert records["concat"].status == "ok"
    for name, (status, reason) in REASONS.items():
        assert records[name].status == status, name
        assert reason in (records[name].reason or ""), name
        assert "\n" not in (records[name].reason or "")
        assert not records[name].refits, name
        if name not in ("twins", "forges"):  # perhaps none of its trials was over when the copy spoke
            (trial,) = reading.history(run.folder)[records[name].cell].trials
            assert (trial.number, trial.status) == (0, status), name


def test_a_helper_that_a_part_forks_and_waits_for_is_no_twin(execute: Execute, suite: Suite) -> None:
    """Where processes may have children of multiprocessing's: those of `local` may not."""
    run = execute(small(suite, "helped"), plugins=[*PLUGINS, PLAIN], executor="plain")
    assert by_contender(run)["helped"].status == "ok"
