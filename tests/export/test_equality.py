"""Networks, and random small graphs of every kind of node: every form gives exactly the engine's scores."""

import contextlib
import itertools
import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.device import SANITIZED, STRICT
from support.images import random_images
from support.networks import NETWORKS, frozen
from support.random_graphs import graphs
from wage_tf import integer, zoo
from wage_tf.errors import UserError
from wage_tf.export import (
    Card,
    litert,
    litert_micro,
    onnx,
    packed,
    write_c,
    write_litert,
    write_litert_micro,
    write_onnx,
)
from wage_tf.export.stages import fused, stages
from wage_tf.integer.nodes import Identity, Rescale

interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
pytest.importorskip("onnx", reason="needs onnx")
onnx_runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("tflite_micro", reason="needs tflite-micro")
runtimes = pytest.importorskip("benchmarks.runtimes")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
CARD = Card("net", "random", "a table", ())
WIDE = [("vgg7", "12-16-8-8", (8, 8, 1), 0.01), ("mlp", "9-8-8-8", (3, 4, 3), 0.05)]
"""Networks with codes of more than 8 bits, which C alone takes."""


def assert_litert_equals(graph, images, expected):
    interpreter = interpreters.Interpreter(model_content=litert.to_bytes(stages(graph), CARD), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, images)
    interpreter.invoke()
    output = interpreter.get_output_details()[0]
    assert output["quantization"][0] == 2.0**-graph.output.fraction
    assert np.array_equal(interpreter.get_tensor(output["index"]), expected)


def assert_onnx_equals(graph, images, expected):
    content = onnx.to_bytes(stages(graph), CARD)
    session = onnx_runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"image": images})
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def assert_litert_micro_equals(graph, images, expected):
    """In LiteRT Micro, and in LiteRT whatever its kernels round."""
    content = litert_micro.to_bytes(fused(stages(graph)), CARD)
    table = next(node.codes for node in graph.nodes if isinstance(node, Rescale))
    for runtime in runtimes.RUNTIMES:
        assert np.array_equal(runtimes.scores(runtime, content, table[images]), expected), runtime


def images_and_scores(graph, count):
    images = random_images(graph.input_shape, count)
    return images, integer.infer(graph, images).reshape(count, -1)


@pytest.mark.parametrize(("name", "bits", "shape", "width"), NETWORKS)
def test_networks(name, bits, shape, width):
    graph = frozen(name, bits, shape, width)
    images, expected = images_and_scores(graph, 40)
    assert_litert_equals(graph, images, expected)
    assert_onnx_equals(graph, images, expected)
    assert_litert_micro_equals(graph, images[:10], expected[:10])


@pytest.mark.parametrize("name", zoo.names())
def test_pretrained_networks(name):
    graph = zoo.graph(name)
    assert_litert_micro_equals(graph, *images_and_scores(graph, 3))


def of_examples(count, **options):
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), **options)


@pytest.mark.slow
@given(graphs())
@of_examples(60)
def test_random_graphs(graph):
    """LiteRT Micro may refuse a bias, and a change of pixels, of which its caller makes codes."""
    images, expected = images_and_scores(graph, 5)
    again, _ = packed.from_bytes(packed.to_bytes(graph, CARD))
    assert np.array_equal(integer.infer(again, images).reshape(5, -1), expected)
    assert_litert_equals(graph, images, expected)
    assert_onnx_equals(graph, images, expected)
    before = itertools.takewhile(lambda node: not isinstance(node, Rescale), graph.nodes)
    changes_pixels = not all(isinstance(node, Identity) for node in before)
    has_bias = any(getattr(node, "bias", None) is not None for node in graph.nodes)
    with contextlib.suppress(UserError) if changes_pixels or has_bias else contextlib.nullcontext():
        assert_litert_micro_equals(graph, images, expected)


@given(graphs(widths=((2, 9), (4, 12))))
@of_examples(30)
def test_litert_refuses_wide_codes_by_name(graph):
    wide = [node.name for node in graph.nodes if max(getattr(node, "width", 0), width_of_kernel(node)) > 8]
    refused = pytest.raises(UserError, match="|".join(wide)) if wide else contextlib.nullcontext()
    with refused:
        litert.to_bytes(stages(graph), CARD)


def width_of_kernel(node):
    return node.kernel.width if hasattr(node, "kernel") else 0


@pytest.mark.parametrize(("bits", "reason"), [("9-8-8-8", "fc1: weights"), ("2-9-8-8", "rescale: activations")])
@pytest.mark.parametrize(
    ("write", "form"), [(write_litert, "LiteRT"), (write_litert_micro, "LiteRT Micro"), (write_onnx, "ONNX")]
)
def test_wide_codes_are_refused(tmp_path, write, form, bits, reason):
    with pytest.raises(UserError, match=f"{form} export: {reason} of more than 8 bits"):
        write(tmp_path / "net", frozen("mlp", bits, (3, 3, 1), 0.01), CARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@needs_gcc
def test_networks_in_c(tmp_path):
    several = [frozen(*network) for network in (*NETWORKS, *WIDE)]
    for i, graph in enumerate(several):
        write_c(tmp_path / f"net{i}", graph, CARD, prefix=f"net{i}")
    assert_c_equals(tmp_path, several)


@pytest.mark.slow
@needs_gcc
@given(st.lists(graphs(widths=((1, 2, 3, 8, 11), (2, 4, 8, 10))), min_size=8, max_size=8))
@of_examples(2, phases=[Phase.generate])
def test_random_graphs_in_c(tmp_path_factory, several):
    folder, supported = tmp_path_factory.mktemp("c"), []
    for graph in several:
        with contextlib.suppress(UserError):  # sums of more than 32 bits
            write_c(folder / f"net{len(supported)}", graph, CARD, prefix=f"net{len(supported)}")
            supported.append(graph)
    assert_c_equals(folder, supported)


MAIN = """
static int run(void (*infer)(const uint8_t *, int32_t *), size_t size, int outputs)
{
    int i, k;
    for (k = 0; k < 8; k++) {
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


def assert_c_equals(folder, several):
    """Networks in one program, every one under a prefix of its own; it runs under sanitizers."""
    lines = ["#include <stdint.h>", "#include <stdio.h>", "static uint8_t image[16384];", "static int32_t scores[64];"]
    calls, sent, expected = [], b"", []
    for i, graph in enumerate(several):
        lines.insert(0, f'#include "net{i}/net{i}_net.h"')
        calls.append(f"run(net{i}_infer, {math.prod(graph.input_shape)}, {math.prod(graph.output.shape)})")
        images, scores = images_and_scores(graph, 8)
        sent += images.tobytes()
        expected += list(scores)
    (folder / "main.c").write_text("\n".join(lines) + MAIN % " || ".join(calls))
    sources = [folder / "main.c", *(folder / f"net{i}" / f"net{i}_net.c" for i in range(len(several)))]
    subprocess.run(["gcc", *STRICT, *SANITIZED, "-o", folder / "all", *sources], check=True)
    done = subprocess.run([folder / "all"], input=sent, capture_output=True, check=True)
    assert done.stderr == b""
    found = [np.array(line.split(), np.int64) for line in done.stdout.splitlines()]
    assert len(found) == len(expected) > 0
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
