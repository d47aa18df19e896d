"""What may name a suite, task, contender or run, and the largest numbers that a suite may ask for.

Used by `suitefile`, by `suiteform`, and by whoever takes a name or a number from the command line.
"""

import re

MOST = {"trials": 100_000, "limit": 2**63 - 1, "seed": 2**32 - 1}
NAME = re.compile(r"[a-z0-9]([a-z0-9 _.-]*[a-z0-9_.-])?")
NAME_RULE = "use lower-case letters, digits, spaces, _ . and -, beginning with a letter or digit"


def name_problem(name: str) -> str | None:
    """Why `name` can't name a suite, task, contender or run: such names become file names. None if it can."""
    if len(name) > 100:
        return f"{name[:20]!r}... is {len(name)} characters long; 100 are the most"
    if not NAME.fullmatch(name):
        return f"{name!r} can't be a name: {NAME_RULE}"
    return None
