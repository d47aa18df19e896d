"""`python -m tests.golden`: run the golden suite by today's code, say what differs, and keep it under a new protocol.

Raise `mmbench.engine.identity.PROTOCOL` by one first, where results are meant to change. Nothing is ever written over.
"""

import os
import sys
import tempfile
from pathlib import Path

from mmbench.engine.identity import PROTOCOL
from tests.golden import runs


def main() -> int:
    kept = runs.kept()
    with tempfile.TemporaryDirectory(prefix="mmbench-golden-") as place:
        os.environ.setdefault("MMBENCH_CACHE", f"{place}/cache")
        found = runs.run(Path(place))
    before = max(kept, default=0)
    differing = list(runs.differences(kept.get(before), found))
    print(f"{len(differing)} differences from protocol {before}", *differing[:20], sep="\n  ")
    if before == PROTOCOL:
        return 1 if differing else 0
    if not differing:
        print(f"protocol {PROTOCOL} gives the same results: take the number back")
        return 1
    runs.keep(PROTOCOL, found)
    print(f"kept as protocol {PROTOCOL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
