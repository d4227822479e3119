"""Generated C that trains against the integer engine, scores and stored weights, bit for bit."""

import shutil
import struct
import zlib

import numpy as np
import pytest

from support.device import CARD, SANITIZED, SEED, assert_trains_alike, batches, exported
from support.images import random_images
from support.networks import frozen
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Training, with_block, write_c

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
OK, COUNT, LABEL, RATE, BLOCK, FOREIGN = range(6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "train_from", "log2_eta"),
    [
        ("mlp", {"shape": (7, 5, 1), "width": 0.05}, None, 0),
        ("mlp", {"shape": (7, 5, 1), "width": 0.05, "bits": "4-6-8-7"}, "fc2", 2),
        ("mlp", {"shape": (7, 5, 1), "width": 0.02, "bits": "8-8-8-8"}, None, -3),
        ("mlp", {"shape": (7, 5, 1), "width": 0.02, "bits": "3-5-6-4"}, None, 12),
        ("lenet5", {"shape": (17, 16, 1), "width": 0.1}, None, 0),
        ("lenet5", {"shape": (16, 17, 3), "width": 0.15}, "fc1", 3),
        ("vgg7", {"shape": (9, 8, 3), "width": 0.02}, None, 3),
        ("resnet8", {"shape": (16, 16, 3), "width": 0.2}, "fc1", 0),
        ("ds_cnn", {"shape": (24, 10, 1), "width": 0.1}, "fc1", 0),
    ],
)
def test_100_steps_equal_the_engine_under_sanitizers(tmp_path, name, options, train_from, log2_eta):
    graph = frozen(name, **options)
    device = exported(tmp_path, graph, 4, train_from, log2_eta, flags=SANITIZED)
    steps = 100 if name == "mlp" else 20
    assert_trains_alike(device, graph, steps, 4, train_from, log2_eta)


@pytest.fixture(scope="module")
def perceptron():
    return frozen("mlp", shape=(4, 3, 1), width=0.01)


@pytest.fixture(scope="module")
def device(tmp_path_factory, perceptron):
    return exported(tmp_path_factory.mktemp("device"), perceptron, flags=SANITIZED)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os"])
def test_every_compiler_and_level(tmp_path, compiler, level):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    graph = frozen("lenet5", shape=(17, 16, 1))
    assert_trains_alike(exported(tmp_path, graph, 3, None, 3, compiler, (level,)), graph, 5, 3, None, 3)


def test_the_static_network_and_two_others_do_not_know_of_each_other(device, perceptron):
    for network in (0, 2, 1):
        assert_trains_alike(device, perceptron, 8, 4, network=network)
    (image,) = random_images(perceptron.input_shape, 1)
    images, labels = next(batches(perceptron, 1, 4))
    device.save(0)
    device.train(images, labels, 1)
    device.save(0)
    device.infer(image, 2)
    before, _, after, scores = device.run()
    assert before == after
    assert np.array_equal(scores, integer.infer(perceptron, image[None])[0])


def test_bad_input_changes_nothing(device, perceptron):
    images, labels = random_images(perceptron.input_shape, 4), np.array([0, 1, 2, 10])
    device.save()
    for count in (0, -1, -(2**31), 5, 2**31 - 1):
        device.train(images[:0], labels[:0], count=count)
    device.train(images, labels)
    device.train(images, np.array([255, 0, 0, 0]))
    for log2 in (31, -63, 2**31 - 1, -(2**31)):
        device.rate(log2)
    device.save()
    before, *statuses, after = device.run()
    assert statuses == [COUNT] * 5 + [LABEL] * 2 + [RATE] * 4
    assert before == after


def test_a_learning_rate_of_its_own(device, perceptron):
    images, labels = next(batches(perceptron, 1, 4))
    device.rate(3)
    device.train(images, labels)
    device.save()
    *_, block = device.run()
    expected = integer.train_step(perceptron, images, labels, 3, SEED, 0)
    for name, parameter in expected.parameters.items():
        assert np.array_equal(with_block(perceptron, block).parameters[name].accumulators, parameter.accumulators)


def trained_block(device, graph):
    images, labels = next(batches(graph, 1, 4))
    device.train(images, labels, 0)
    device.save(0)
    return device.run()[-1]


def test_a_block_goes_from_one_network_to_another_with_the_count_of_steps(device, perceptron):
    device.rate(-2)
    block = trained_block(device, perceptron)
    device.load(block, 1)
    images, labels = next(batches(perceptron, 1, 4))
    device.save(1)
    for network in (1, 2):
        device.rate(-2, network)
    device.train(images, labels, 2)
    for network in (1, 2):
        device.train(images, labels, network)
        device.save(network)
    status, copied, *_, one, _, other = device.run()
    assert status == OK
    assert copied == block
    assert one == other


def damaged(block):
    """Blocks of another length, and all with one bit changed."""
    for size in (*range(0, 30), *range(30, len(block), 37), len(block) - 1):
        yield block[:size], BLOCK
    yield block + b"\0", BLOCK
    for bit in range(0, 8 * len(block), 1 + 8 * len(block) // 1200):
        changed = bytearray(block)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed), BLOCK


def sealed(block):
    """The block with the checksum that fits."""
    return block[:-4] + struct.pack("<I", zlib.crc32(block[:-4]))


def forged(block):
    """Blocks whose checksum fits and whose content is not this network's."""
    for place, word, status in ((0, 1, BLOCK), (4, 2, BLOCK), (8, 7, BLOCK), (12, 1, FOREIGN), (20, 31, BLOCK)):
        yield sealed(block[:place] + struct.pack("<I", word) + block[place + 4 :]), status
    yield sealed(block[:20] + struct.pack("<i", -63) + block[24:]), BLOCK
    yield sealed(block[:24] + bytes([65]) + block[25:]), BLOCK
    yield sealed(block[:-5] + bytes([256 - 65]) + block[-4:]), BLOCK


def test_1000_damaged_and_foreign_blocks_are_refused_and_the_weights_stay(device, perceptron):
    block = trained_block(device, perceptron)
    cases = [*damaged(block), *forged(block)]
    rng = np.random.default_rng(0)
    cases += [(rng.bytes(int(rng.integers(0, 2 * len(block)))), BLOCK) for _ in range(500)]
    assert len(cases) > 1000
    device.save(1)
    for case, _ in cases:
        device.load(case, 1)
    device.save(1)
    device.load(block, 1)
    device.save(1)
    before, *statuses, after, accepted, loaded = device.run()
    assert statuses == [status for _, status in cases]
    assert before == after
    assert (accepted, loaded) == (OK, block)


def test_a_network_of_the_same_shape_has_other_blocks(tmp_path, device, perceptron):
    other = integer.train_step(perceptron, *next(batches(perceptron, 1, 4)), 6, SEED, 0)
    device.load(trained_block(exported(tmp_path, other), other))
    assert device.run() == [FOREIGN]


def test_a_block_in_python_is_checked(device, perceptron):
    block = trained_block(device, perceptron)
    larger = frozen("mlp", shape=(4, 3, 1), width=0.02)
    for wrong, message in (
        (block[:-1], "cut or damaged"),
        (b"", "cut or damaged"),
        (sealed(b"WAGX" + block[4:]), "not a block"),
    ):
        with pytest.raises(UserError, match=message):
            with_block(perceptron, wrong)
    with pytest.raises(UserError, match="another network's"):
        with_block(larger, block)


def test_a_batch_that_could_pass_32_bits_is_refused_with_the_largest_that_cannot():
    graph = frozen("vgg7", shape=(32, 32, 3), width=0.01)
    with pytest.raises(UserError, match="conv1: gradients of a batch over 130 can pass 32 bits"):
        write_c("nowhere", graph, CARD, Training(131))
