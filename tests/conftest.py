"""What holds for every test: one thread each, as in a worker process; no hub is ever asked; signals are heard.

Tests run side by side on up to four cores where pytest-xdist is there; `pytest -n 0` runs them in one process, as a
debugger wants it.
"""

import compileall
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MOST_WORKERS = 4
ROOT = Path(__file__).parents[1]

# How long something takes on a busy machine says nothing of it.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; pytest -n runs one process a core
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Begun by nohup or in the background, the tests ignore these signals, and so would every process that they start. With
# a handler, even one that does nothing, a process that is started hears them again.
for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


def pytest_configure(config: pytest.Config) -> None:
    """Compile our modules once: hundreds of processes would each do it again where no bytecode may be written."""
    if not hasattr(config, "workerinput"):
        for folder in ("mmbench", "plugins"):
            compileall.compile_dir(ROOT / folder, quiet=2)


@pytest.hookimpl(tryfirst=True)  # before xdist's own
def pytest_cmdline_main(config: pytest.Config) -> None:
    asked = getattr(config.option, "numprocesses", 0)  # 0 without xdist; None where nobody said -n
    if asked is None and config.option.dist == "no" and not config.option.usepdb and not hasattr(config, "workerinput"):
        from mmbench.engine import cores

        config.option.numprocesses = min(MOST_WORKERS, cores.usable())
        config.option.dist = "worksteal"
