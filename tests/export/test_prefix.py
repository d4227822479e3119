"""Two networks, each under a prefix of its own, learn in one program: bit for bit the integer engine."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from support.device import SANITIZED, STRICT
from support.images import random_images
from support.networks import frozen
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Card, Training, c_block, with_block, write_c

CARD = Card("wage_net", "2-8-8-8", "x/256", ("wage_label", "WAGE_LABEL"))
STEPS, BATCH, SEED = 6, 3, 7

ONE = """
#include "{name}_net.h"
static uint8_t {name}_images[{NAME}_BATCH * {NAME}_PIXELS], {name}_labels_of[{NAME}_BATCH];
static uint8_t {name}_block[{NAME}_BLOCK_BYTES];
static int32_t {name}_scores[{NAME}_OUTPUTS];

static int {name}_step(void)
{{
    if (fread({name}_images, 1, sizeof {name}_images, stdin) != sizeof {name}_images ||
        fread({name}_labels_of, 1, sizeof {name}_labels_of, stdin) != sizeof {name}_labels_of)
        return 1;
    return {name}_train_step({name}_images, {name}_labels_of, {NAME}_BATCH) != {NAME}_OK;
}}

static void {name}_end(void)
{{
    {name}_infer({name}_images, {name}_scores);
    fwrite({name}_scores, 1, sizeof {name}_scores, stdout);
    {name}_save({name}_block);
    fwrite({name}_block, 1, sizeof {name}_block, stdout);
    fprintf(stderr, "%s\\n", {name}_labels[0]);
}}
"""
MAIN = """
int main(void)
{
    int step;
    for (step = 0; step < 6; step++)
        if (digits_step() || m1_step())
            return 1;
    digits_end();
    m1_end();
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_two_networks_in_one_program(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    graphs = {
        "digits": frozen("lenet5", shape=(16, 16, 1)),
        "m1": frozen("mlp", "4-6-8-7", (4, 3, 3), 0.02, 2),
    }
    expected, images, sent = dict(graphs), {}, b""
    for step in range(STEPS):
        for name, graph in graphs.items():
            images[name] = random_images(graph.input_shape, BATCH, step)
            labels = np.arange(BATCH, dtype=np.uint8) % graph.output.shape[0]
            sent += images[name].tobytes() + labels.tobytes()
            expected[name] = integer.train_step(expected[name], images[name], labels, 0, SEED, step)
    done = subprocess.run([program(tmp_path, compiler, graphs)], input=sent, capture_output=True, check=True)
    assert done.stderr == b"0\nwage_label\n"
    received = done.stdout
    for name, graph in expected.items():
        outputs = graph.output.shape[0]
        scores = np.frombuffer(received, np.int32, outputs)
        assert np.array_equal(scores, integer.infer(graph, images[name][:1])[0])
        end = 4 * outputs + c_block.OVERHEAD + sum(kernel.codes.size for kernel in graph.kernels.values())
        found = with_block(graph, received[4 * outputs : end])
        for layer, kernel in graph.kernels.items():
            assert np.array_equal(found.kernels[layer].accumulators, kernel.accumulators), layer
        received = received[end:]
    assert received == b""


def program(folder, compiler, graphs):
    parts = [ONE.format(name=name, NAME=name.upper()) for name in graphs]
    (folder / "main.c").write_text("#include <stdio.h>\n" + "".join(parts) + MAIN)
    command = [compiler, *STRICT, *SANITIZED, "-o", folder / "program", folder / "main.c"]
    for name, graph in graphs.items():
        write_c(folder / name, graph, CARD, Training(BATCH, seed=SEED), prefix=name)
        command += [f"-I{folder / name}", *sorted((folder / name).glob(f"{name}_*.c"))]
    subprocess.run(command, check=True)
    return folder / "program"


def test_files_and_names_begin_with_the_prefix(tmp_path):
    """Text that is the user's own stays as it is."""
    graph = frozen("mlp", shape=(3, 3, 1), width=0.01, classes=2)
    write_c(tmp_path, graph, CARD, Training(), prefix="fc_2")
    content = {path.name: path.read_text() for path in tmp_path.iterdir()}
    ours = {name for name in content if name.startswith("fc_2_")}
    assert set(content) == ours | {"main.c", "Makefile"}
    found = {word for text in content.values() for word in re.findall(r"\b(?i:wage_\w+)", text)}
    assert found == {"wage_tf", "wage_net", "wage_label", "WAGE_LABEL"}


@pytest.mark.parametrize("prefix", ["", "2nd", "a-b", "Net", "é", "a" * 32, "a b", "_a"])
def test_what_is_no_prefix_is_refused(tmp_path, prefix):
    graph = frozen("mlp", shape=(3, 3, 1), width=0.01)
    with pytest.raises(UserError, match="prefix: 1 to 31 lower-case letters"):
        write_c(tmp_path / "net", graph, CARD, prefix=prefix)
    assert not (tmp_path / "net").exists()
