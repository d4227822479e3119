"""`python -m attacks --first N --count N --seed S`: prints every attack, then the findings; exit code 1 if any."""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "NONE"}

from attacks.families import FAMILIES, SHARES
from attacks.judging import Finding


def main() -> int:
    """Runs the attacks; each depends on its number and the seed alone."""
    parser = argparse.ArgumentParser(prog="python -m attacks", description=__doc__)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=FAMILIES)
    args = parser.parse_args()
    done, seconds, found = collections.Counter(), collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        families = {}
        for number in range(args.first, args.first + args.count):
            rng = random.Random(f"{args.seed}/{number}")
            (name,) = rng.choices(list(SHARES), SHARES.values())
            name = args.family or name
            if name not in families:
                place = Path(folder) / name
                place.mkdir()
                families[name] = FAMILIES[name](place)
            started = time.monotonic()
            try:
                families[name].attack(rng, lambda what, n=number, f=name: print(f"{n:6d} {f}: {what!r}", flush=True))
            except Finding as error:
                found += 1
                print(f"FINDING {number}: {error}", flush=True)
            done[name] += 1
            seconds[name] += time.monotonic() - started
    families_done = ", ".join(f"{name} {count} in {seconds[name]:.0f} s" for name, count in done.items())
    print(f"{sum(done.values())} attacks ({families_done}): {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
