"""The integer engine in C: a runtime of small kernels that trains and infers on codes, bit for bit the NumPy engine.

It is built with the package where there is a C compiler; `available()` says whether it is there.
"""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType

from wage_tf.errors import UserError

_ISA = "WAGE_ISA"


def available() -> bool:
    """Whether the native engine was built with this installation."""
    return _extension() is not None


def runtime() -> ModuleType:
    """The extension, with `ffi` and `lib`.

    Raises:
        UserError: If it was not built.
    """
    found = _extension()
    if found is None:
        raise UserError(
            "native engine: wage_tf was installed without it; a C compiler (gcc or clang) and "
            "reinstalling wage-tf build it"
        )
    return found


def instruction_sets() -> dict[str, object]:
    """The tables of kernels that this CPU can run, by name, the fastest first and "portable" last."""
    extension = runtime()
    tables: dict[str, object] = {}
    while (table := extension.lib.wage_isa(len(tables))) != extension.ffi.NULL:
        tables[extension.ffi.string(table.name).decode()] = table
    return tables


def instruction_set(name: str | None = None) -> str:
    """The instruction set that a network takes.

    Args:
        name: One of `instruction_sets`; None takes the environment's WAGE_ISA or else the fastest.

    Raises:
        UserError: If this CPU or this build does not have it.
    """
    names = list(instruction_sets())
    asked = name or os.environ.get(_ISA)
    if asked and asked not in names:
        raise UserError(f"{_ISA}: one of {', '.join(names)} on this machine; received {asked!r}")
    return asked or names[0]


@functools.cache
def _extension() -> ModuleType | None:
    try:
        return importlib.import_module("wage_tf.native._runtime")
    except ImportError:
        return None
