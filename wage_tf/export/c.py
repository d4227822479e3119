"""The network as C99 source: integers only, no allocation, no library.

`wage_infer(const uint8_t *image, int32_t *scores)` is in one `.c` with one `.h`; a Makefile and a `main.c` that reads
images stand beside them.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export import bitpack
from wage_tf.export.c_kinds import KINDS, Source, comment
from wage_tf.export.c_memory import ALIGNMENT, memory
from wage_tf.export.c_source import HEADER, MAIN, MAKEFILE, SOURCE
from wage_tf.export.card import Card
from wage_tf.export.stages import Stages, fused, stages
from wage_tf.integer.graph import Graph
from wage_tf.integer.tensors import Shape

_LONGEST_LABEL = 600


def write_c(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes wage_net.h, wage_net.c, main.c and Makefile into a folder (`files.write_all`).

    Args:
        path: The folder; made if it is not there.
        graph: The network.
        card: Its metadata.

    Returns:
        Bytes of packed weights in the source.

    Raises:
        UserError: If the graph has no such form (`stages.stages`), `path` is a file, or one of the four a folder.
    """
    network = fused(stages(graph))
    content = _sources(network, card)
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: C source goes into a folder")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files.write_all({folder / name: text.encode("ascii") for name, text in content.items()})
    except BaseException:
        with contextlib.suppress(OSError):
            if is_new:
                folder.rmdir()
        raise
    return _weight_bytes(network)


def _sources(network: Stages, card: Card) -> dict[str, str]:
    """The text of the four files by name.

    Raises:
        UserError: If a node is of a kind that C does not have; the message names it.
    """
    for stage in network.stages:
        if type(stage.node) not in KINDS:
            raise UserError(f"C export: {stage.node.name}: {type(stage.node).__name__} has no such form")
    source = Source(memory(network))
    for stage in network.stages:
        KINDS[type(stage.node)](stage, source)
    fields = {
        "name": comment(card.name),
        "pattern": comment(card.pattern),
        "preprocessing": comment(card.preprocessing),
        "sizes": _sizes(network.input_shape),
        "outputs": network.outputs,
        "fraction": network.output.fraction,
        "macs": network.macs,
        "weight_bytes": _weight_bytes(network),
        "buffer_bytes": _buffer_bytes(network),
        "weight_type": f"int{8 * _unpacked_bytes(network)}_t",
        "constants": "\n\n".join(source.constants),
        "functions": "\n".join(source.functions.values()),
        "calls": "\n".join(source.calls),
        "labels": "\n".join(f"    {_string(label)}," for label in _labels(card, network.outputs)),
        "arena": max(1, -(-source.memory.size // ALIGNMENT)),
        "row": _longest_row(network),
    }
    return {
        "wage_net.h": HEADER.substitute(fields),
        "wage_net.c": SOURCE.substitute(fields),
        "main.c": MAIN,
        "Makefile": MAKEFILE,
    }


def buffer_bytes(graph: Graph) -> int:
    """Bytes of the static buffers that `write_c` declares: the arena, and a filter's unpacked weights."""
    return _buffer_bytes(fused(stages(graph)))


def _buffer_bytes(network: Stages) -> int:
    return memory(network).size + _longest_row(network) * _unpacked_bytes(network)


def _weight_bytes(network: Stages) -> int:
    """Bytes of all weights at their true width."""
    kernels = (stage.node.kernel for stage in network.products)
    return sum(bitpack.packed_size(kernel.codes.size, kernel.width) for kernel in kernels)


def _sizes(shape: Shape) -> str:
    """The macros of the input's size; only images have height, width and channels."""
    if len(shape) != 3:
        return f"#define WAGE_PIXELS {math.prod(shape)}"
    names = ("WAGE_HEIGHT", "WAGE_WIDTH", "WAGE_CHANNELS")
    lines = [f"#define {name} {size}" for name, size in zip(names, shape, strict=True)]
    return "\n".join([*lines, f"#define WAGE_PIXELS ({' * '.join(names)})"])


def _longest_row(network: Stages) -> int:
    return max(stage.node.kernel.codes[..., 0].size for stage in network.products)


def _unpacked_bytes(network: Stages) -> int:
    return 1 if max(stage.node.kernel.width for stage in network.products) <= 8 else 2


def _labels(card: Card, outputs: int) -> list[str]:
    return list(card.labels) if len(card.labels) == outputs else [str(i) for i in range(outputs)]


def _string(text: str) -> str:
    """A C string literal of UTF-8 bytes; three-digit octal escapes cannot run into the text that follows.

    C99 compilers need not take more than 4,095 bytes: text is cut at 600 characters, of six bytes at most.
    """
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,"
    short = text if len(text) <= _LONGEST_LABEL else f"{text[:_LONGEST_LABEL]}..."
    content = b"".join(map(_utf8, short))
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in content) + '"'


def _utf8(character: str) -> bytes:
    """A character as bytes: those of a file's name that are not UTF-8 as they were, other surrogates as \\uXXXX."""
    is_byte = "\udc80" <= character <= "\udcff"
    return character.encode(errors="surrogateescape" if is_byte else "backslashreplace")
