"""The network as C99 source: integers only, no allocation, no library.

`wage_infer(const uint8_t *image, int32_t *scores)` is in one `.c` with one `.h`; a Makefile and a `main.c` that reads
images stand beside them. A network that goes on learning has `wage_train_step` as well. Of several networks in one
program each takes a prefix of its own in the place of `wage`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path
from string import Template

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export import c_training
from wage_tf.export.c_kinds import KINDS
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_memory import ALIGNMENT
from wage_tf.export.c_parts import Source, comment
from wage_tf.export.c_source import HEADER, INFER, MAIN, MAKEFILE, SOURCE
from wage_tf.export.c_tail import Training
from wage_tf.export.card import Card
from wage_tf.integer.graph import Graph
from wage_tf.integer.tensors import Shape

_LONGEST_LABEL = 600
PREFIX = "wage"
"""What the names of files, functions, types and macros begin with."""


def write_c(
    path: str | os.PathLike, graph: Graph, card: Card, training: Training | None = None, prefix: str = PREFIX
) -> int:
    """Writes wage_net.h, wage_net.c, main.c and Makefile into a folder (`files.write_all`).

    With `training` the network goes on learning on the device, and the runtime's files stand beside them: wage_train.h,
    wage_train.c, wage_update.c, wage_state.c and wage_integers.h.

    Args:
        path: The folder; made if it is not there.
        graph: The network.
        card: Its metadata.
        training: How it is trained; None for inference alone.
        prefix: What takes the place of `wage` in all names; two networks of different prefixes can be in one program.

    Returns:
        Bytes of packed and stored weights in the source.

    Raises:
        UserError: If the graph has no such form, `path` is a file, one of the
            files a folder, or the prefix no name in C.
    """
    check_prefix(prefix)
    layout = Layout.of(graph, training)
    content = {_named(name, prefix): text for name, text in _sources(layout, card, prefix).items()}
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
    return layout.weight_bytes + layout.stored_bytes


def check_prefix(prefix: str) -> None:
    """Requires the beginning of a name in C.

    Raises:
        UserError: If it is none.
    """
    if not re.fullmatch("[a-z][a-z0-9_]{0,30}", prefix):
        raise UserError(f"prefix: 1 to 31 lower-case letters, digits and _, a letter first; received {prefix!r}")


def _named(code: str, prefix: str) -> str:
    """Code in which all names of the runtime begin with the prefix."""
    return re.sub(r"\bwage_(?!tf\b)", f"{prefix}_", re.sub(r"\bWAGE_", f"{prefix.upper()}_", code))


def _sources(layout: Layout, card: Card, prefix: str) -> dict[str, str]:
    """The text of the files by name."""
    network, source = layout.network, Source(layout.memory, layout.tail)
    for stage in network.stages:
        KINDS[type(stage.node)](stage, source)
    weight_type = f"int{8 * layout.unpacked_bytes}_t"
    fields = {
        "sizes": _sizes(network.input_shape),
        "outputs": network.outputs,
        "fraction": network.output.fraction,
        "macs": network.macs,
        "weight_bytes": layout.weight_bytes,
        "buffer_bytes": layout.buffer_bytes,
        "weight_type": weight_type,
        "row": f"\n    {weight_type} row[{layout.row}]; /* unpacked weights */" if layout.row else "",
        "arena": max(1, -(-layout.memory.size // ALIGNMENT)),
    }
    fields |= c_training.parts(layout, source) if layout.training else _inference(source)
    fields |= {"constants": "\n\n".join(source.constants), "functions": "\n".join(source.functions.values())}
    shared = c_training.sources() if layout.training else {}
    fields["sources"] = " ".join(["wage_net.c", *(name for name in shared if name.endswith(".c"))])
    code = {field: _named(str(part), prefix) for field, part in fields.items()} | _card_fields(card, network.outputs)
    templates = {"wage_net.h": HEADER, "wage_net.c": SOURCE, "main.c": MAIN, "Makefile": MAKEFILE}
    own = {name: Template(_named(text.template, prefix)).substitute(code) for name, text in templates.items()}
    return own | {name: _named(text, prefix) for name, text in shared.items()}


def _card_fields(card: Card, outputs: int) -> dict[str, str]:
    """The fields of the templates that are somebody's text."""
    labels = "\n".join(f"    {_string(label)}," for label in _labels(card, outputs))
    return {
        "name": comment(card.name),
        "pattern": comment(card.pattern),
        "preprocessing": comment(card.preprocessing),
        "labels": labels,
    }


def _inference(source: Source) -> dict[str, str]:
    """The fields of the templates that training fills otherwise."""
    names = ("fields", "step_fields", "training_sizes", "training", "single", "single_header", "include")
    return dict.fromkeys(names, "") | {"infer": INFER.substitute(calls="\n".join(source.calls)), "only": "&only"}


def _sizes(shape: Shape) -> str:
    """The macros of the input's size; only images have height, width and channels."""
    if len(shape) != 3:
        return f"#define WAGE_PIXELS {math.prod(shape)}"
    names = ("WAGE_HEIGHT", "WAGE_WIDTH", "WAGE_CHANNELS")
    lines = [f"#define {name} {size}" for name, size in zip(names, shape, strict=True)]
    return "\n".join([*lines, f"#define WAGE_PIXELS ({' * '.join(names)})"])


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
