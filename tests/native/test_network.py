"""Whole networks against the NumPy engine: every activation, error, gradient and stored weight of several steps."""

import dataclasses
import gc
import weakref

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.drawn_networks import network as drawn_network
from support.images import random_images
from support.networks import frozen
from support.tensors import plain_operations
from wage_tf import integer, layers, machine, native
from wage_tf.errors import UserError
from wage_tf.losses import SumSquaredError
from wage_tf.native import network as native_network
from wage_tf.native.network import Network
from wage_tf.optimizers import IntegerSGD

pytestmark = pytest.mark.usefixtures("native_engine")

LOG2_ETA, SEED = 3, 5
ENGINES = ("native", "numpy")


def assert_steps_equal(graph, batch, steps, *options, count=None):
    """Trains by the NumPy engine, and by a network of each of the options; compares what every node leaves behind."""
    classes = graph.output.shape[-1]
    options = options or ({},)
    networks = [Network(graph, batch, training=True, keep=True, **each) for each in options]
    count = count or batch
    for step in range(steps):
        images = random_images(graph.input_shape, count, seed=step)
        labels = (np.arange(count) + step) % classes
        outputs = integer.forward(graph, images)
        gradients, errors = integer.backward(graph, outputs, labels)
        graph = integer.update(graph, gradients, LOG2_ETA, SEED, step)
        fewer = images[: max(1, count - 1)]
        inferred = integer.infer(graph, fewer)
        for network, each in zip(networks, options, strict=True):
            scores = network.train_step(images, labels, LOG2_ETA, SEED, step)
            where = f"{each}, step {step}"
            assert np.array_equal(scores, outputs[graph.nodes[-1].name].codes), where
            for name, tensor in network.program.by_name.items():
                assert same(network.values(tensor, count), outputs[name].codes), f"{where}: output of {name}"
                if compares(network.program, tensor):
                    assert same(network.error(tensor, count), errors[name].codes), f"{where}: error of {name}"
            for node in network.program.nodes:
                if node.gradient is not None:
                    name = node.parameter[0]
                    assert np.array_equal(network.gradient(node), gradients[name].codes), f"{where}: gradient of {name}"
            assert_same_parameters(network.graph(), graph)
            assert np.array_equal(Network(graph, batch, **each).infer(fewer), inferred), where
    return networks


def compares(program, tensor):
    """Whether a tensor's error is kept as the engine has it: before Q_A's mask, which the runtime does at once.

    And in a buffer of its own: others that come after may write to it too.
    """
    is_own = [other.error for other in program.tensors].count(tensor.error) == 1
    return tensor.error is not None and tensor.gate is None and is_own


def same(values, codes):
    return np.array_equal(values.reshape(len(values), -1), codes.reshape(len(codes), -1))


def assert_same_parameters(actual, expected):
    for name, parameter in expected.parameters.items():
        other = actual.parameters[name]
        assert np.array_equal(other.codes, parameter.codes), name
        assert np.array_equal(other.accumulators, parameter.accumulators), name
        assert other.codes.dtype == parameter.codes.dtype
        assert other.accumulators.dtype == parameter.accumulators.dtype


def on_every_instruction_set(*threads):
    return [{"isa": isa, "threads": count} for isa in native.instruction_sets() for count in threads]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "width", "batch", "threads"),
    [("lenet5", (28, 28, 1), 1.0, 6, (1, 3)), ("vgg7", (32, 32, 3), 0.25, 4, (2,))],
)
def test_every_instruction_set(name, shape, width, batch, threads):
    graph = frozen(name, "2-8-8-8", shape, width)
    networks = assert_steps_equal(graph, batch, 3, *on_every_instruction_set(*threads))
    assert not any(network.program.wide for network in networks)


@pytest.mark.parametrize(
    ("name", "bits", "shape", "wide"),
    [
        ("mlp", "1-8-8-8", (9, 9, 1), False),
        ("mlp", "8-8-4-8", (9, 9, 1), False),
        ("lenet5", "4-4-12-6", (17, 16, 3), False),
        ("lenet5", "3-12-16-9", (16, 16, 1), True),
        ("lenet5", "16-8-8-8", (16, 16, 1), True),
        ("alexnet", "2-8-8-8", (67, 63, 3), True),
    ],
)
def test_other_patterns_and_networks(name, bits, shape, wide):
    (network,) = assert_steps_equal(frozen(name, bits, shape, 0.05), 3, 2)
    assert network.program.wide == wide


def between(*hidden, activated=True, side=21):
    """A network of a first convolution of four filters, then the layers given, then a Q_A and a dense layer."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((side, side, 2), dtype="uint8")
    x = layers.QConv2D(4, 3, padding="same")(layers.QRescaling(1 / 128, -1.0)(x))
    x = layers.QActivation()(x) if activated else x
    for layer in hidden:
        x = layer(x)
    x = keras.layers.Flatten()(layers.QActivation()(x))
    return keras.Model(image, layers.QError()(layers.QDense(5)(x)))


UNUSUAL = {
    "pool of 9": lambda: between(keras.layers.MaxPooling2D(9), activated=False),
    "pool of 10 by 2": lambda: between(keras.layers.MaxPooling2D((10, 2)), activated=False),
    "pool of all": lambda: between(keras.layers.MaxPooling2D(21)),
    "overlapping pool": lambda: between(keras.layers.MaxPooling2D(3, 2), activated=False),
    "overlapping pool of codes": lambda: between(keras.layers.MaxPooling2D(3, 2)),
    "overlapping pool with a border": lambda: between(keras.layers.MaxPooling2D(5, 1, "same")),
    "pool with gaps": lambda: between(keras.layers.MaxPooling2D(2, 3), activated=False),
    "padded pool": lambda: between(keras.layers.MaxPooling2D(4, padding="same"), activated=False),
    "overlapping average": lambda: between(keras.layers.AveragePooling2D(4, 2)),
    "average of 16": lambda: between(keras.layers.AveragePooling2D(16)),
    "dilated": lambda: between(layers.QConv2D(6, 3, dilation_rate=3)),
    "dilated in one direction": lambda: between(layers.QConv2D(6, (3, 2), dilation_rate=(1, 4), padding="same")),
    "groups": lambda: between(layers.QConv2D(6, 3, groups=2, strides=2, padding="same")),
    "dilated groups, pooled": lambda: between(
        layers.QConv2D(8, 3, groups=4, dilation_rate=2, use_bias=True), keras.layers.MaxPooling2D(3, 2)
    ),
    "dilated depthwise": lambda: between(layers.QDepthwiseConv2D(3, dilation_rate=2, padding="same")),
    "depthwise, two filters a channel": lambda: between(layers.QDepthwiseConv2D(3, 2, depth_multiplier=2)),
    "strides beyond the window": lambda: between(layers.QConv2D(6, 2, strides=4)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_layers_that_vector_kernels_decline(name):
    """Keras' model through the Trainer and `infer`, and every value of a step."""
    model = UNUSUAL[name]()
    model.compile(IntegerSGD(2.0**LOG2_ETA, seed=SEED), SumSquaredError())
    graph = integer.freeze(model)
    assert_steps_equal(graph, 3, 2, {"threads": 2})
    images, labels = random_images((21, 21, 2), 3), np.arange(3)
    trainer = integer.Trainer(model)
    trainer.train_on_batch(images, labels)
    trainer.sync()
    trained = integer.train_step(graph, images, labels, LOG2_ETA, SEED, 0)
    assert_same_parameters(integer.freeze(model), trained)
    assert np.array_equal(integer.infer(trained, images, backend="native"), integer.infer(trained, images))


def test_a_smaller_last_batch():
    assert_steps_equal(frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.1), 7, 2, {"threads": 4}, count=3)


def test_buffers_that_share_their_place_change_nothing():
    graph = frozen("vgg7", "2-8-8-8", (32, 32, 3), 0.125)
    images, labels = random_images((32, 32, 3), 5), np.arange(5)
    sharing, keeping = (Network(graph, 5, training=True, keep=keep) for keep in (False, True))
    for step in range(3):
        scores = [network.train_step(images, labels, LOG2_ETA, SEED, step) for network in (sharing, keeping)]
        assert np.array_equal(*scores)
    assert_same_parameters(sharing.graph(), keeping.graph())
    assert sharing.arena_bytes < 0.7 * keeping.arena_bytes


@pytest.mark.parametrize("bits", ["2-8-8-8", "1-8-8-8", "2-8-12-8", "12-8-8-8"])
def test_a_network_neither_changes_nor_keeps_its_graph(bits):
    graph = frozen("mlp", bits, (5, 5, 1), 0.05)
    network = Network(graph, 4, training=True)
    before = {name: parameter.accumulators.copy() for name, parameter in graph.parameters.items()}
    network.train_step(random_images((5, 5, 1), 4), np.arange(4), LOG2_ETA, SEED, 0)
    trained = network.graph()
    network.train_step(random_images((5, 5, 1), 4), np.arange(4), LOG2_ETA, SEED, 1)
    for name, accumulators in before.items():
        assert np.array_equal(graph.parameters[name].accumulators, accumulators)
        assert not np.array_equal(trained.parameters[name].accumulators, network.graph().parameters[name].accumulators)
    stored = [weakref.ref(kernel.accumulators) for kernel in graph.kernels.values()]
    del graph
    gc.collect()
    assert not any(array() is not None for array in stored)


def with_alpha(graph, name, more):
    """The graph with another α in one layer, whose error is 2^more times smaller then."""
    nodes = tuple(
        dataclasses.replace(node, kernel=dataclasses.replace(node.kernel, alpha=node.kernel.alpha + more))
        if node.name == name
        else node
        for node in graph.nodes
    )
    return dataclasses.replace(graph, nodes=nodes)


def test_errors_that_meet_and_pass_32_bits():
    graph = with_alpha(frozen("resnet20", "2-8-8-8", (8, 8, 3), 0.25), "block1_conv1", 26)
    networks = assert_steps_equal(graph, 3, 2, *on_every_instruction_set(2))
    assert not any(network.program.wide for network in networks)


def test_errors_that_meet_and_pass_62_bits_change_nothing():
    """The layers above the fork have their gradients by then."""
    graph = with_alpha(frozen("resnet20", "2-8-8-8", (8, 8, 3), 0.25), "block1_conv1", 40)
    graph = with_alpha(graph, "block1_conv2", 40)
    images, labels = random_images((8, 8, 3), 3), np.arange(3)
    with pytest.raises(UserError, match="differ too much in size: their sum passes 62 bits"):
        integer.train_step(graph, images, labels, LOG2_ETA, SEED, 0)
    network = Network(graph, 3, training=True, threads=2)
    with pytest.raises(UserError, match="differ too much in size: their sum passes 62 bits"):
        network.train_step(images, labels, LOG2_ETA, SEED, 0)
    assert_same_parameters(network.graph(), graph)


def branches_of_sums(bits, pool):
    """Two branches that quantize the sums of a product, each with a Q_E of its own: where their errors meet is none."""
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 3), dtype="uint8")
    x = layers.QConv2D(16, 3, padding="same", bits=bits, name="stem")(layers.QRescaling(1 / 128, -1.0)(image))
    if pool:
        x = keras.layers.MaxPooling2D(3, 1)(x)
    other = layers.QActivation(bits, activation=None)(x)
    x = layers.QActivation(bits, activation=None)(x)
    for _ in range(2):
        x = layers.QActivation(bits, activation=None)(layers.QConv2D(16, 3, padding="same", bits=bits)(x))
    x = keras.layers.Flatten()(keras.layers.Concatenate()([x, other]))
    return integer.freeze(keras.Model(image, layers.QError(bits)(layers.QDense(4, bits=bits)(x))))


@pytest.mark.parametrize("pool", [False, True])
def test_errors_that_meet_and_are_not_rounded(pool):
    (network,) = assert_steps_equal(branches_of_sums("2-8-8-8", pool), 3, 2, {"threads": 2})
    assert network.program.wide


@pytest.mark.parametrize("pool", [False, True])
def test_errors_that_meet_and_pass_16_bits_change_nothing(pool):
    graph = branches_of_sums("2-8-8-16", pool)
    network = Network(graph, 3, training=True, threads=2)
    with pytest.raises(UserError, match="errors that meet pass 16-bit codes: put a QError behind"):
        network.train_step(random_images((4, 4, 3), 3), np.arange(3), LOG2_ETA, SEED, 0)
    assert_same_parameters(network.graph(), graph)


def test_stored_weights_of_a_wider_type_are_trained():
    graph = frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.1)
    wider = {
        name: dataclasses.replace(kernel, accumulators=kernel.accumulators.astype(np.int32))
        for name, kernel in graph.parameters.items()
    }
    network = Network(graph.with_parameters(wider), 3, training=True)
    images, labels = random_images((16, 16, 1), 3), np.arange(3)
    network.train_step(images, labels, LOG2_ETA, SEED, 0)
    trained = integer.train_step(graph, images, labels, LOG2_ETA, SEED, 0)
    for name, kernel in network.graph().parameters.items():
        assert np.array_equal(kernel.accumulators, trained.parameters[name].accumulators), name


def test_a_network_of_images_is_not_trained_on_classes():
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1), dtype="uint8")
    scores = layers.QError()(layers.QConv2D(3, 1)(layers.QRescaling(1 / 128, -1.0)(image)))
    network = Network(integer.freeze(keras.Model(image, scores)), 2, training=True)
    with pytest.raises(UserError, match=r"labels: class numbers, for scores \[batch, classes\]; received \(4, 4, 3\)"):
        network.train_step(random_images((4, 4, 1), 2), np.array([0, 11]), LOG2_ETA, SEED, 0)


@pytest.mark.parametrize("width", [0, 25])
def test_a_width_of_random_numbers_out_of_range_is_refused(width):
    network = Network(frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.1), 2, training=True)
    with pytest.raises(UserError, match=f"random_width: an integer from 1 to 24; received {width}"):
        network.train_step(random_images((16, 16, 1), 2), np.arange(2), LOG2_ETA, SEED, 0, width)


def test_a_network_without_trained_layers_stays_as_it_is():
    graph = frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.1)
    nodes = [
        dataclasses.replace(n, kernel=dataclasses.replace(n.kernel, variable=None)) if hasattr(n, "kernel") else n
        for n in graph.nodes
    ]
    graph = dataclasses.replace(graph, nodes=tuple(nodes))
    network = Network(graph, 3, training=True)
    images = random_images((16, 16, 1), 3)
    scores = network.train_step(images, np.arange(3), LOG2_ETA, SEED, 0)
    assert np.array_equal(scores, integer.infer(graph, images))
    assert_same_parameters(network.graph(), graph)


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 100))
@settings(
    max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_random_networks(data, seed):
    """And by the name of the engine, as `integer.infer` and `integer.train_step` have it."""
    keras.utils.set_random_seed(seed)
    with plain_operations():
        graph = integer.freeze(drawn_network(data))
    threads = data.draw(st.integers(1, 3))
    isa = data.draw(st.sampled_from(list(native.instruction_sets())))
    assert_steps_equal(graph, 4, 2, {"threads": threads, "isa": isa})
    images, labels = random_images(graph.input_shape, 4, seed), np.arange(4) % 4
    assert np.array_equal(integer.infer(graph, images, backend="native"), integer.infer(graph, images))
    trained, expected = (integer.train_step(graph, images, labels, 3, seed, 0, backend=engine) for engine in ENGINES)
    assert_same_parameters(trained, expected)


def test_int64_gradients(monkeypatch):
    """The batch from which on conv1's gradient could pass 2^31, forced upon a small one."""
    monkeypatch.setattr(native_network.bounds, "_INT32_GRADIENTS", 1)
    (network,) = assert_steps_equal(frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.1), 4, 2)
    assert all(node.layer["wide_gradient"] for node in network.program.nodes if node.kind == "LINEAR")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 5, 5, 1), np.uint8), np.zeros(0, int), "images: 1 to 4 at once; received 0"),
        (np.zeros((5, 5, 5, 1), np.uint8), np.zeros(5, int), "images: 1 to 4 at once; received 5"),
        (np.zeros((2, 5, 5, 1), np.int8), np.zeros(2, int), r"images: uint8 .*; received int8 of shape \(2, 5, 5, 1\)"),
        (np.zeros((2, 5, 6, 1), np.uint8), np.zeros(2, int), r"images: uint8 of shape \[batch, 5, 5, 1\]; received"),
        (np.zeros((2, 5, 5), np.uint8), np.zeros(2, int), "images: uint8"),
        ([[0]], np.zeros(1, int), "images: uint8 .* received list"),
        (np.zeros((4, 5, 5, 1), np.uint8)[::2], np.zeros(2, int), "images: one contiguous block"),
        (np.zeros((2, 5, 5, 1), np.uint8), np.array([0, 10]), "labels: class numbers 0 to 9; received 10"),
        (np.zeros((2, 5, 5, 1), np.uint8), np.array([-1, 0]), "labels: class numbers 0 to 9; received -1"),
        (np.zeros((2, 5, 5, 1), np.uint8), np.array([0.0, 1.0]), r"labels: .* received float64 of shape \(2,\)"),
        (np.zeros((2, 5, 5, 1), np.uint8), np.zeros(3, int), r"labels: .* received int64 of shape \(3,\)"),
        (np.zeros((2, 5, 5, 1), np.uint8), [0, 1], "labels: .* received list"),
    ],
)
def test_wrong_batches_change_nothing(images, labels, message):
    graph = frozen("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    network = Network(graph, 4, training=True)
    with pytest.raises(UserError, match=message):
        network.train_step(images, labels, LOG2_ETA, SEED, 0)
    assert_same_parameters(network.graph(), graph)


def test_wrong_settings_are_refused():
    graph = frozen("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    for batch in (0, -1, 2.5, True):
        with pytest.raises(UserError, match="batch: an integer from 1"):
            Network(graph, batch)
    with pytest.raises(UserError, match=r"learning rate: .* received 2\^31"):
        Network(graph, 1, training=True).train_step(np.zeros((1, 5, 5, 1), np.uint8), np.zeros(1, int), 31, SEED, 0)
    with pytest.raises(UserError, match=r"WAGE_ISA: one of .*portable.*; received 'mmx'"):
        Network(graph, 1, isa="mmx")
    with pytest.raises(UserError, match=r"fc1: .*k_G = f"):
        Network(frozen("mlp", "2-8-f-f", (5, 5, 1), 0.05), 1, training=True)


def test_an_arena_that_memory_does_not_hold_is_refused():
    graph = frozen("vgg7", "2-8-8-8", (32, 32, 3), 1.0)
    with pytest.raises(UserError, match=r"native engine: a batch of 1048576 needs \d+ MB of memory; this machine has"):
        Network(graph, 2**20, training=True)


def test_an_arena_that_is_more_than_what_is_free_is_refused(monkeypatch):
    graph = frozen("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    needed = Network(graph, 4, training=True).arena_bytes
    monkeypatch.setattr(machine, "free_memory", lambda: needed)
    Network(graph, 4, training=True)
    monkeypatch.setattr(machine, "free_memory", lambda: needed - 1)
    with pytest.raises(UserError, match="a batch of 4 needs 0 MB of memory; this machine has 0 MB free"):
        Network(graph, 4, training=True)


def test_the_environment_chooses_the_instruction_set(monkeypatch):
    graph = frozen("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    monkeypatch.setenv("WAGE_ISA", "portable")
    assert Network(graph, 1).isa == "portable"
