import dataclasses
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from wage_tf import BitWidths
from wage_tf.bits import NetworkBits, width_of

operand_widths = st.one_of(st.none(), st.integers(2, 16))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("2-8-8-8", (2, 8, 8, 8)),
        ("2,8,8,8", (2, 8, 8, 8)),
        ("2, 8, 8, 8", (2, 8, 8, 8)),
        (" 2-8-8-8 ", (2, 8, 8, 8)),
        ("2-8,8-8", (2, 8, 8, 8)),
        ("1-8-8-8", (1, 8, 8, 8)),
        ("16-16-16-16", (16, 16, 16, 16)),
        ("2-8-f-f", (2, 8, None, None)),
        ("2,8,F,f", (2, 8, None, None)),
        ("f-f-f-f", (None, None, None, None)),
        ("1-2-2-2", (1, 2, 2, 2)),
    ],
)
def test_parse(pattern, expected):
    bits = BitWidths.parse(pattern)
    assert (bits.w, bits.a, bits.g, bits.e) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "2",
        "2-8-8",
        "2-8-8-8-8",
        "0,8,8,8",
        "-1,8,8,8",
        "1,1,8,8",
        "2,8,1,8",
        "2,8,8,1",
        "2,8,8,0",
        "17,8,8,8",
        "2,17,8,8",
        "2.5,8,8,8",
        "2e0,8,8,8",
        "a,b,c,d",
        "²,8,8,8",
        "٢,8,8,8",
        "+2,8,8,8",
        "2,,8,8",
        "2 8 8 8",
        "2_0,8,8,8",
        None,
        2888,
        2.0,
        (2, 8, 8, 8),
        b"2-8-8-8",
    ],
)
def test_wrong_input_is_named(pattern):
    with pytest.raises(ValueError, match="a pattern is four widths W-A-G-E") as caught:
        BitWidths.parse(pattern)
    message = str(caught.value)
    received = message.partition("received ")[2]
    out_of_range = {"0,8,8,8": "W = 0", "1,1,8,8": "A = 1", "2,8,1,8": "G = 1", "2,8,8,1": "E = 1", "2,8,8,0": "E = 0"}
    out_of_range |= {"17,8,8,8": "W = 17", "2,17,8,8": "A = 17"}
    assert received == out_of_range.get(pattern, repr(pattern))
    assert "\n" not in message


@pytest.mark.parametrize("wrong", [{"w": 0}, {"a": 1}, {"g": 17}, {"e": "8"}, {"w": 2.0}, {"a": True}])
def test_constructor_checks_every_width(wrong):
    (operand, width), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"received {operand.upper()} = {width!r}"):
        BitWidths(**wrong)


@given(st.one_of(st.none(), st.integers(1, 16)), operand_widths, operand_widths, operand_widths)
def test_text_round_trip(w, a, g, e):
    bits = BitWidths(w, a, g, e)
    assert BitWidths.parse(str(bits)) == bits
    assert BitWidths.parse(str(bits).replace("-", ",")) == bits
    assert BitWidths.parse(bits) is bits
    assert {bits: 1}[BitWidths(w, a, g, e)] == 1


def test_default_is_the_papers_pattern():
    assert str(BitWidths()) == "2-8-8-8"


def test_replace_leaves_the_original_and_is_checked():
    bits = BitWidths.parse("2-8-8-8")
    assert str(bits.replace(g=None, e=12)) == "2-8-f-12"
    assert str(bits) == "2-8-8-8"
    with pytest.raises(ValueError, match="received A = 1"):
        bits.replace(a=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bits.w = 3


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("3-4-5-6", {"w": 3, "a": 4, "g": 5, "e": 6}),
        (BitWidths(3, 4, 5, 6), {"w": 3, "a": 4, "g": 5, "e": 6}),
        (7, {"w": 7, "a": 7, "g": 7, "e": 7}),
        (None, {"w": None, "a": None, "g": None, "e": None}),
        ("f", {"w": None, "a": None, "g": None, "e": None}),
        (" F ", {"w": None, "a": None, "g": None, "e": None}),
        ("3-f-5-f", {"w": 3, "a": None, "g": 5, "e": None}),
    ],
)
def test_width_of_one_operand(bits, expected):
    assert {operand: width_of(bits, operand) for operand in "wage"} == expected


@pytest.mark.parametrize("bits", [1, 17, 0, True, 8.0, "8", "x", "2-8-8"])
def test_width_of_rejects(bits):
    with pytest.raises(ValueError, match="received"):
        width_of(bits, "a")


def test_binary_is_for_weights_only():
    assert width_of(1, "w") == 1
    for operand in "age":
        with pytest.raises(ValueError, match=f"received {operand.upper()} = 1"):
            width_of(1, operand)


PATTERNS = st.builds(
    BitWidths,
    st.none() | st.integers(1, 16),
    *[st.none() | st.integers(2, 16)] * 3,
)
MAPPINGS = st.dictionaries(st.text(min_size=1, max_size=8), PATTERNS, min_size=1, max_size=5)


@given(MAPPINGS)
def test_patterns_of_a_network_round_trip_through_json(mapping):
    bits = NetworkBits.parse(mapping)
    assert NetworkBits.parse(json.loads(json.dumps(bits.as_json()))) == bits
    assert NetworkBits.parse({name: str(pattern) for name, pattern in mapping.items()}) == bits
    assert NetworkBits.parse(bits) is bits
    assert sorted(map(str, bits.patterns)) == sorted(map(str, mapping.values()))


@given(MAPPINGS, st.text(min_size=1, max_size=8))
def test_a_block_has_its_own_pattern_or_that_of_the_rest(mapping, block):
    bits = NetworkBits.parse(mapping)
    for name in {block, *mapping} - {"*"}:
        if name in mapping or "*" in mapping:
            assert bits.of(name) == mapping.get(name, mapping.get("*"))
        else:
            with pytest.raises(ValueError, match="no pattern for the layer"):
                bits.of(name)


@given(PATTERNS)
def test_one_pattern_is_that_of_every_block(pattern):
    bits = NetworkBits.parse(pattern)
    assert bits.of("anything") is pattern
    assert bits.as_json() == str(bits) == str(pattern)
    assert bits.patterns == (pattern,)


@pytest.mark.parametrize("wrong", [{}, {1: "2-8-8-8"}, {"*": 3}, {"fc1": "2-8-8"}, None, 5, [], "2-8-8-f-8"])
def test_wrong_patterns_of_a_network(wrong):
    with pytest.raises(ValueError, match="bits: "):
        NetworkBits.parse(wrong)
