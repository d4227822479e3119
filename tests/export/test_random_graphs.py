"""Random small graphs of every kind of node: packed, LiteRT and C give exactly the engine's scores."""

import contextlib
import os
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.images import random_images
from support.random_graphs import graphs
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Card, litert, packed, write_c
from wage_tf.export.stages import stages

GCC = shutil.which("gcc")
CARD = Card("net", "random", "a table", ())
IMAGES = 5


def of_examples(count, **options):
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), **options)


def scores_of(graph):
    return integer.infer(graph, images_of(graph)).reshape(IMAGES, -1)


def images_of(graph):
    return random_images(graph.input_shape, IMAGES)


@given(graphs())
@of_examples(60)
def test_packed(graph):
    again, _ = packed.from_bytes(packed.to_bytes(graph, CARD))
    assert np.array_equal(scores_of(again), scores_of(graph))


@given(graphs())
@of_examples(60)
def test_litert(graph):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    interpreter = interpreters.Interpreter(model_content=litert.to_bytes(stages(graph), CARD), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    images = images_of(graph)
    interpreter.resize_tensor_input(place, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, images)
    interpreter.invoke()
    output = interpreter.get_output_details()[0]
    assert output["quantization"][0] == 2.0**-graph.output.fraction
    assert np.array_equal(interpreter.get_tensor(output["index"]), scores_of(graph))


@pytest.mark.slow
@pytest.mark.skipif(GCC is None, reason="needs gcc")
@given(st.lists(graphs(widths=((1, 2, 3, 8, 11), (2, 4, 8, 10))), min_size=8, max_size=8))
@of_examples(2, phases=[Phase.generate])
def test_c(tmp_path_factory, several):
    """Eight networks in one program, which runs under address and undefined-behaviour sanitizers."""
    folder, supported = tmp_path_factory.mktemp("c"), []
    for graph in several:
        with contextlib.suppress(UserError):  # sums of more than 32 bits
            write_c(folder / f"net{len(supported)}", graph, CARD, prefix=f"net{len(supported)}")
            supported.append(graph)
    program = compiled(folder, supported)
    images = b"".join(images_of(graph).tobytes() for graph in supported)
    run = subprocess.run([program], input=images, capture_output=True, check=True)
    lines = [np.array(line.split(), np.int64) for line in run.stdout.splitlines()]
    expected = [row for graph in supported for row in scores_of(graph)]
    assert len(lines) == len(expected) > 0
    assert all(np.array_equal(*pair) for pair in zip(lines, expected, strict=True))


MAIN = """
static int run(void (*infer)(const uint8_t *, int32_t *), size_t size, int outputs)
{
    int i, k;
    for (k = 0; k < %d; k++) {
        if (fread(image, 1, size, stdin) != size)
            return 1;
        infer(image, scores);
        for (i = 0; i < outputs; i++)
            printf("%%ld ", (long)scores[i]);
        printf("\\n");
    }
    return 0;
}

int main(void)
{
    return %s;
}
"""
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiled(folder, several):
    """A program of several networks, every one under a prefix of its own."""
    lines = ["#include <stdint.h>", "#include <stdio.h>", "static uint8_t image[256];", "static int32_t scores[16];"]
    calls = []
    for i, graph in enumerate(several):
        lines.insert(0, f'#include "net{i}/net{i}_net.h"')
        calls.append(f"run(net{i}_infer, {np.prod(graph.input_shape)}, {np.prod(graph.output.shape)})")
    (folder / "main.c").write_text("\n".join(lines) + MAIN % (IMAGES, " || ".join(calls)))
    sources = [folder / "main.c", *(folder / f"net{i}" / f"net{i}_net.c" for i in range(len(several)))]
    command = [GCC, *FLAGS, *SANITIZERS, "-o", folder / "all", *sources]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
    return folder / "all"


@given(graphs(widths=((2, 9), (4, 12))))
@of_examples(30)
def test_litert_refuses_wide_codes_by_name(graph):
    wide = [node.name for node in graph.nodes if max(getattr(node, "width", 0), width_of_kernel(node)) > 8]
    if not wide:
        litert.to_bytes(stages(graph), CARD)
        return
    with pytest.raises(UserError, match="|".join(wide)):
        litert.to_bytes(stages(graph), CARD)


def width_of_kernel(node):
    return node.kernel.width if hasattr(node, "kernel") else 0
