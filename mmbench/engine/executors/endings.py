"""The sentences about how a worker ended, each made here and nowhere else."""

from mmbench.api.executor import End, Ending


def sentence(end: End) -> str:
    """What a person reads of it."""
    match end.ending:
        case Ending.DONE:
            return "the worker has ended"
        case Ending.EXITED:
            return f"the worker ended with exit code {end.code}"
        case Ending.CRASHED:
            return f"the worker crashed by {end.signal}"
        case Ending.UNRULY:
            return f"the worker was stopped: {end.detail}"
        case Ending.HUNG:
            return "hung: no sign of life for twice its limit"
        case Ending.KILLED:
            return f"the worker was killed by {end.signal}"
        case Ending.OUT_OF_MEMORY:
            return f"the worker was killed by {end.signal or 'the system'} (out of memory?)"
        case Ending.LOST:
            return end.detail or "the worker was lost"
