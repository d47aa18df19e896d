"""`python -m tests.chaos`: kill runs at random points; `python -m tests.chaos soak`: run thousands of tiny cells."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("kill", "soak"), default="kill")
    parser.add_argument("--points", type=int, default=32, help="kill at so many points or more")
    parser.add_argument("--seed", type=int, help="which points; a random one, which is printed, if absent")
    parser.add_argument("--lanes", type=int, default=2, help="runs side by side")
    parser.add_argument("--cells", type=int, default=2000, help="of the soak")
    parser.add_argument("--place", type=Path, help="an empty folder to work in; a temporary one if absent")
    given = parser.parse_args()

    def tell(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="mmbench-chaos-") as temporary:
        place = given.place or Path(temporary)
        if given.what == "soak":
            from tests.chaos.soak import soak

            told = soak(place, cells=given.cells, tell=tell)
            print(told)
            return 1 if told.faults else 0
        from tests.chaos.story import chaos

        seed = secrets.randbelow(10**6) if given.seed is None else given.seed
        story = chaos(place, points=given.points, seed=seed, lanes=given.lanes, tell=tell)
        print(story)
        return 1 if story.faults else 0


if __name__ == "__main__":
    sys.exit(main())
