"""The packed file: a round trip, and one clear error for everything else."""

import hashlib
import json
import pathlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.images import random_images
from support.networks import frozen
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Card, bitpack, packed, read_packed, write_packed

CARD = Card("lenet5", "2-8-8-8", "x/256", ("zero", "één"))


CONTENT = {}


@pytest.fixture(scope="module", autouse=True)
def _content():
    graph = frozen("lenet5", shape=(16, 16, 1), width=0.05)
    CONTENT["codes"] = packed.to_bytes(graph, CARD)
    CONTENT["accumulators"] = packed.to_bytes(graph, CARD, accumulators=True)


@given(st.integers(1, 16), st.data())
def test_bits_round_trip(width, data):
    largest = 1 if width == 1 else 2 ** (width - 1) - 1
    values = st.sampled_from((-1, 1)) if width == 1 else st.integers(-largest, largest)
    codes = np.array(data.draw(st.lists(values, min_size=1, max_size=40)))
    content = bitpack.pack(codes, width)
    assert len(content) == -(-codes.size * width // 8)
    assert (bitpack.unpack(content, codes.size, width) == codes).all()


@pytest.mark.parametrize("width", [1, 2, 3, 8, 12])
def test_many_codes_need_little_memory(width):
    """A million: a few bytes per code, the packed and the unpacked ones included."""
    count = 10**6 + 3
    limit = 2 ** (width - 1) - 1
    random = np.random.default_rng(0)
    codes = 2 * random.integers(0, 2, count) - 1 if width == 1 else random.integers(-limit, limit + 1, count)
    codes = codes.astype(np.int16)
    tracemalloc.start()
    try:
        again = bitpack.unpack(bitpack.pack(codes, width), count, width)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (again == codes).all()
    assert peak < 15 * count


@pytest.mark.parametrize("bits", ["1-8-8-8", "2-8-8-8", "3-4-8-8", "8-12-16-8"])
@pytest.mark.parametrize("accumulators", [False, True])
def test_round_trip(tmp_path, bits, accumulators):
    graph = frozen("lenet5", bits, (16, 16, 1), 0.05)
    size = write_packed(tmp_path / "model.wage", graph, CARD, accumulators)
    assert (tmp_path / "model.wage").stat().st_size == size
    again, card = read_packed(tmp_path / "model.wage")
    assert card == CARD
    images = random_images((16, 16, 1), 6)
    assert (integer.infer(again, images) == integer.infer(graph, images)).all()
    labels = np.arange(6)
    if accumulators:
        first, second = (integer.train_step(g, images, labels, 3, 0, 0).kernels for g in (graph, again))
        assert all((first[name].accumulators == second[name].accumulators).all() for name in first)
    else:
        with pytest.raises(UserError, match="for inference only"):
            integer.train_step(again, images, labels, 3, 0, 0)
        with pytest.raises(UserError, match="no accumulators to keep"):
            packed.to_bytes(again, CARD, accumulators=True)


def test_reading_needs_little_memory_beside_the_file_and_the_graph(tmp_path):
    graph = frozen("mlp", width=1.0, shape=(28, 28, 1))
    size = write_packed(tmp_path / "model.wage", graph, CARD, accumulators=True)
    arrays = sum(kernel.codes.nbytes + kernel.accumulators.nbytes for kernel in graph.kernels.values())
    assert size > 5 * 10**5
    tracemalloc.start()
    try:
        read_packed(tmp_path / "model.wage")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * (size + arrays) + 2 * 10**6


def test_a_file_of_version_1_is_read():
    """A LeNet-5 with accumulators, and what the version that wrote it gave: a score and the weights after a step."""
    graph, _ = read_packed(pathlib.Path(__file__).parent / "data" / "version-1.wage")
    images = random_images((16, 16, 1), 4)
    assert integer.infer(graph, images)[0].tolist() == [-40, -59, 1, 57, -62, -86, 23, -46, -44, -20]
    after = integer.train_step(graph, images, np.arange(4), 3, 0, 0)
    digests = [hashlib.sha256(kernel.accumulators.tobytes()).hexdigest() for kernel in after.kernels.values()]
    assert [digest[:16] for digest in digests] == [
        "72ec2d94bc3c3751",
        "9f36736f1a618e4f",
        "2a5450eba29ae87b",
        "0dfd49c3da53c70d",
    ]


def test_ternary_weights_take_two_bits():
    graph = frozen("vgg7", shape=(32, 32, 3), width=0.25)
    weights = sum(kernel.codes.size for kernel in graph.kernels.values())
    assert len(packed.to_bytes(graph, CARD)) <= 4 * weights / 14


def signed(version=2, header=b"", data=b"", magic=b"WAGE-INT"):
    body = struct.pack("<8sHI", magic, version, len(header)) + header + data
    return body + hashlib.sha256(body).digest()


def parts(content):
    length = struct.unpack_from("<8sHI", content)[2]
    return json.loads(content[14 : 14 + length]), content[14 + length : -32]


def changed(change):
    header, data = parts(CONTENT["accumulators"])
    data = change(header, data) or data
    return signed(header=json.dumps(header).encode(), data=data)


def set_node(place, **fields):
    return lambda header, data: header["nodes"][place].update(fields)


def set_kernel(**fields):
    return lambda header, data: header["nodes"][1]["kernel"].update(fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"", "not a packed"),
        (lambda: b"PK\x03\x04" + bytes(100), "not a packed"),
        (lambda: signed(magic=b"WAGE-EXT"), "not a packed"),
        (lambda: signed(version=3), "version 3; this library reads versions 1 to 2"),
        (lambda: CONTENT["codes"][:-1], "checksum"),
        (lambda: signed(header=b"{"), "not JSON"),
        (lambda: signed(header=b"[" * 100_000), "not JSON"),
        (lambda: signed(header=b"[]"), "the fields input_shape, metadata, nodes belong"),
        (lambda: signed(header=json.dumps({"metadata": {}, "input_shape": [1, 1, 1], "nodes": []}).encode()), "first"),
        (lambda: changed(lambda h, d: d + b"\0"), "1 bytes follow"),
        (lambda: changed(lambda h, d: d[:-1]), "need .* bytes"),
        (lambda: changed(set_node(1, kind="Lambda")), "a node is one of Rescale"),
        (lambda: changed(set_node(1, kind=["Conv2D"])), "a node is one of Rescale"),
        (lambda: changed(set_node(1, code="import os")), "belong here"),
        (lambda: changed(set_node(1, padding="full")), "padding is 'same' or 'valid'"),
        (lambda: changed(set_node(1, strides=[1])), "two positive sizes"),
        (lambda: changed(set_node(1, strides=[0, 1])), "positive sizes"),
        (lambda: changed(set_node(1, strides=["1", 1])), "strides is of type int"),
        (lambda: changed(set_node(0, width=4)), "bytes follow the last array"),
        (lambda: changed(set_node(3, error_width=99)), "widths are 2 to 16"),
        (lambda: changed(set_node(3, relu=1)), "relu is true or false"),
        (lambda: changed(set_kernel(shape=[5, 5, 1, 3])), "bytes|fit|differ|quantized|beyond"),
        (lambda: changed(set_kernel(shape=[2**30, 2**30])), "too large"),
        (lambda: changed(set_kernel(alpha=2.0)), "log2 alpha is an integer"),
        (lambda: changed(set_kernel(limit=-1)), "out of range"),
        (lambda: changed(set_kernel(limit=10)), "zero|bytes|fit|beyond|need"),
        (lambda: changed(set_kernel(fraction=True)), "fraction is of type int"),
        (lambda: changed(set_kernel(variable=-1)), "variable is an index"),
        (lambda: changed(lambda h, d: h["metadata"].update(labels="no")), "the metadata has the fields"),
        (lambda: changed(lambda h, d: h["metadata"].update(labels=[1])), "the metadata is text"),
        (lambda: changed(lambda h, d: h.update(input_shape=[16, 16])), "does not fit|takes images"),
        (lambda: changed(lambda h, d: h.update(input_shape=[16, 16, 2])), "does not fit an input"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(UserError, match=message):
        packed.from_bytes(content())


@pytest.mark.parametrize("kind", ["codes", "accumulators"])
@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 2**31},
        {"limit": 10**30},
        {"limit": 2**7 + 1},
        {"limit": None},
        {"limit": "64"},
        {"limit": 64.0},
        {"fraction": -1},
        {"fraction": 0},
        {"fraction": 31},
        {"fraction": 10**30},
        {"fraction": None},
        {"fraction": True},
    ],
)
def test_limit_and_fraction_are_checked_with_accumulators_and_without(kind, fields):
    header, data = parts(CONTENT[kind])
    assert header["nodes"][1]["kernel"]["fraction"] == 7
    set_kernel(**fields)(header, data)
    with pytest.raises(UserError, match=r"are out of range|is of type int"):
        packed.from_bytes(signed(header=json.dumps(header).encode(), data=data))


def test_codes_out_of_range_are_refused():
    header, data = parts(CONTENT["codes"])
    bad = data[:256] + b"\xaa" + data[257:]
    with pytest.raises(UserError, match="2-bit codes lie in ±1; received ±2"):
        packed.from_bytes(signed(header=json.dumps(header).encode(), data=bad))


def test_reading_names_the_path(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=str(path)):
            read_packed(path)


@pytest.mark.parametrize("kind", ["codes", "accumulators"])
def test_every_cut_and_every_flipped_byte_is_one_clear_error(kind):
    """More than 1,000 each: every length, and in every byte one bit."""
    content = CONTENT[kind]
    damaged = [content[:length] for length in range(len(content))]
    damaged += [
        content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        for place in range(len(content))
    ]
    assert len(damaged) > 2000
    for bad in damaged:
        with pytest.raises(UserError, match=r"checksum|not a packed integer model|format of version"):
            packed.from_bytes(bad)


flips = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=4)


@given(st.sampled_from(("codes", "accumulators")), st.integers(0, 30), flips)
@settings(max_examples=1000)
def test_damage_under_a_valid_checksum_never_crashes(kind, cut, flips):
    body = bytearray(CONTENT[kind][: -32 - cut])
    for position, bit in flips:
        body[position % len(body)] ^= 1 << bit
    try:
        graph, _ = packed.from_bytes(bytes(body) + hashlib.sha256(body).digest())
    except UserError:
        return
    integer.infer(graph, np.zeros((1, *graph.input_shape), np.uint8))
