"""The network as C99 source: integers only, no allocation, no library.

`wage_infer(const uint8_t *image, int32_t *scores)` is in one `.c` with one `.h`; a Makefile and a `main.c` that reads
images stand beside them.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export import bitpack
from wage_tf.export.c_source import HEADER, MAIN, MAKEFILE, SOURCE
from wage_tf.export.card import Card
from wage_tf.export.stages import Pool, Product, Stages, stages
from wage_tf.integer.graph import Graph

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
    network = stages(graph)
    content = sources(network, card)
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
    return weight_bytes(network)


def sources(network: Stages, card: Card) -> dict[str, str]:
    """The text of the four files by name."""
    height, width, channels = network.input_shape
    widest_weight = max(product.kernel.width for product in network.products)
    buffers = buffer_lengths(network)
    fields = {
        "name": _comment(card.name),
        "pattern": _comment(card.pattern),
        "preprocessing": _comment(card.preprocessing),
        "height": height,
        "width": width,
        "channels": channels,
        "outputs": network.outputs,
        "fraction": network.fraction,
        "macs": sum(product.macs for product in network.products),
        "weight_bytes": weight_bytes(network),
        "buffer_bytes": buffer_bytes(network),
        "code_type": _c_type(network.widest),
        "weight_type": _c_type(widest_weight),
        "table": _numbers(network.table.tolist()),
        "weights": "\n\n".join(_weights(product, i) for i, product in enumerate(network.products)),
        "steps": "\n".join(_step(step, network.products) for step in network.steps),
        "labels": "\n".join(f"    {_string(label)}," for label in _labels(card, network.outputs)),
        "buffer_a": buffers[0],
        "buffer_b": buffers[1],
        "row": _longest_row(network),
    }
    return {
        "wage_net.h": HEADER.substitute(fields),
        "wage_net.c": SOURCE.substitute(fields),
        "main.c": MAIN,
        "Makefile": MAKEFILE,
    }


def weight_bytes(network: Stages) -> int:
    """Bytes of all weights at their true width."""
    return sum(bitpack.packed_size(product.weights.size, product.kernel.width) for product in network.products)


def buffer_bytes(network: Stages) -> int:
    """Bytes of the static buffers: two of codes, one of a filter's unpacked weights."""
    widest_weight = max(product.kernel.width for product in network.products)
    return sum(buffer_lengths(network)) * _bytes_of(network.widest) + _longest_row(network) * _bytes_of(widest_weight)


def buffer_lengths(network: Stages) -> tuple[int, int]:
    """Codes in the two buffers, between which the stages go to and fro."""
    outputs = [math.prod(network.input_shape)]
    for step in network.steps:
        is_sums = isinstance(step, Product) and step.requantization is None
        outputs.append(1 if is_sums else math.prod(step.shape_out))
    return max(outputs[0::2]), max(outputs[1::2])


def _longest_row(network: Stages) -> int:
    return max(product.weights[0].size for product in network.products)


def _bytes_of(width: int) -> int:
    return 1 if width <= 8 else 2


def _c_type(width: int) -> str:
    return f"int{8 * _bytes_of(width)}_t"


def _weights(product: Product, index: int) -> str:
    packed = bitpack.pack(product.weights, product.kernel.width)
    comment = f"/* {_comment(product.name)}: {product.weights.size} codes of {product.kernel.width} bits */"
    return f"{comment}\nstatic const uint8_t weights_{index}[] = {{\n{_numbers(packed)}\n}};"


def _step(step: Product | Pool, products: list[Product]) -> str:
    if isinstance(step, Pool):
        first, window, last = ["NULL", 0], step.window, [0, 0, 0]
    else:
        rounding = step.requantization
        first, window = [f"weights_{products.index(step)}", step.kernel.width], step.weights.shape[1:3]
        last = [int(rounding.relu), rounding.shift, rounding.limit] if rounding is not None else [0, 0, 0]
    fields = [*first, *step.shape_in, *step.shape_out, *window, *step.strides, *step.pads, *last]
    return f"    {{{', '.join(map(str, fields))}}}, /* {_comment(step.name)} */"


def _numbers(values: Iterable[int]) -> str:
    return textwrap.fill(", ".join(map(str, values)), 110, initial_indent="    ", subsequent_indent="    ")


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


def _comment(text: str) -> str:
    """Text that cannot begin or end a comment, form a trigraph, or leave ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return re.sub(r"(?<=/)(?=\*)|(?<=\*)(?=/)|(?<=\?)(?=\?)", " ", plain)
