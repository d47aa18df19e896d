"""How many cores this process may use, which is seldom how many the machine has: the default number of workers."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable() -> int:
    """At least one; by what Python was told, by the cores it is bound to, by the quota of its control groups."""
    return max(1, min([_bound(), *map(int, quotas())]))


def _bound() -> int:
    count = getattr(os, "process_cpu_count", None)  # Python 3.13: knows of PYTHON_CPU_COUNT, too
    if count:
        return count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quotas(groups: Path = GROUPS, own: Path = OWN) -> Iterator[float]:
    """Cores, as a share of time, that each control group around this process may use, if it has a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            tops, limit = [groups, groups / "unified"], _limit
        elif "cpu" in controllers.split(","):
            tops, limit = [groups / controllers, groups / "cpu"], _old_limit
        else:
            continue
        for top in tops:
            inside = top / path.lstrip("/")  # a container may see its own group as the top
            for folder in (inside, *(parent for parent in inside.parents if parent.is_relative_to(top))):
                with suppress(OSError, ValueError, ZeroDivisionError):
                    if found := limit(folder):
                        yield found


def _limit(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _old_limit(folder: Path) -> float | None:
    """By control groups of version 1."""
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
