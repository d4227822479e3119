"""Which program this process runs."""

from __future__ import annotations

import sys
from pathlib import Path

_SCRIPTS = ("wage-train", "wage-tune", "wage-export", "wage-verify")
_FRONT_DOORS = ("train.py", "tuner.py")
_MODULES = ("wage_tf.", "experiments.", "benchmarks.")


def is_ours() -> bool:
    """Whether it is one of the commands of this package or of its clone.

    A console script, train.py or tuner.py beside the package, or `python -m` with one of our modules, where
    `sys.argv[0]` is "-m" until the module is found.
    """
    if sys.argv[:1] == ["-m"]:
        return any(argument.startswith(_MODULES) for argument in sys.orig_argv)
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None:
        return module.name.startswith(_MODULES)
    program = Path(sys.argv[0]) if sys.argv else Path()
    if program.stem in _SCRIPTS:
        return True
    beside = Path(__file__).resolve().parent.parent
    return program.name in _FRONT_DOORS and program.resolve().parent == beside
