"""Costs against values computed by hand from the formulas in the docstrings."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from wage_tf import costs, initializers
from wage_tf.bits import BitWidths
from wage_tf.layers import QActivation, QConv2D, QDense, QDepthwiseConv2D, QError, QRescaling

INT8_MULTIPLY, INT32_ADD = 0.2, 0.1  # pJ
FLOAT_MULTIPLY, FLOAT_ADD = 3.7, 0.9
VGG7 = [  # fan-in, outputs, output pixels
    (3 * 3 * 3, 128, 32 * 32),
    (3 * 3 * 128, 128, 32 * 32),
    (3 * 3 * 128, 256, 16 * 16),
    (3 * 3 * 256, 256, 16 * 16),
    (3 * 3 * 256, 512, 8 * 8),
    (3 * 3 * 512, 512, 8 * 8),
    (4 * 4 * 512, 1024, 1),
    (1024, 10, 1),
]


def chain(*layers, shape=(6, 6, 2)):
    return keras.Sequential([keras.Input(shape), *layers], name="chain")


def two_layers(bits, pixel_bits="2-8-8-8"):
    """6×6×2 pixels, 4C3 VALID, pooling to 2×2×4, 3 outputs."""
    return chain(
        QRescaling(1 / 128, -1.0, pixel_bits),
        QConv2D(4, 3, bits=bits, name="conv"),
        keras.layers.MaxPooling2D(2),
        QActivation(bits),
        keras.layers.Flatten(),
        QDense(3, bits=bits, name="fc"),
        QError(bits),
    )


def vgg7_total(bits):
    return costs.model_costs(models.build("vgg7", bits, (32, 32, 3), 10)).total


def test_prices_are_horowitz_figures():
    assert costs.multiply_price(8, 8) == pytest.approx((0.2, 282.0), rel=1e-4)
    assert costs.multiply_price(32, 32) == pytest.approx((3.1, 3495.0), rel=1e-4)
    assert costs.add_price(32) == pytest.approx((0.1, 137.0))
    assert costs.multiply_price(None, None) == (3.7, 7700.0)
    assert costs.add_price(None) == (0.9, 4184.0)


def test_multiply_price_of_unequal_widths_is_that_of_their_geometric_mean():
    assert costs.multiply_price(4, 16) == costs.multiply_price(8, 8) == costs.multiply_price(16, 4)


@pytest.mark.parametrize("width", [1, 2])
def test_ternary_and_binary_operands_need_no_multiplier(width):
    assert costs.multiply_price(width, 8) == costs.multiply_price(None, width) == (0.0, 0.0)
    assert costs.mac_price(width, 8) == costs.add_price(32)
    assert costs.mac_price(width, None) == costs.add_price(None)


def test_float_operand_makes_a_float_mac():
    assert costs.mac_price(8, None) == costs.mac_price(None, None) == (3.7 + 0.9, 7700.0 + 4184.0)


def test_every_figure_of_a_ternary_first_layer():
    conv = costs.model_costs(two_layers("2-8-8-8")).layers[0]
    parameters, pixels, outputs = 3 * 3 * 2 * 4, 6 * 6 * 2, 4 * 4 * 4
    macs = 4 * 4 * 4 * (3 * 3 * 2)
    assert (parameters, macs) == (72, 1152)
    assert (conv.name, str(conv.bits)) == ("conv", "2-8-8-8")
    assert (conv.parameters, conv.macs) == (parameters, macs)
    assert (conv.weight_bytes, conv.stored_bytes) == (72 * 2 // 8, 72)
    assert conv.activation_bytes == pixels + outputs
    assert conv.kept_bytes == pixels
    assert conv.error_bytes == outputs
    assert conv.energy_inference == pytest.approx(macs * INT32_ADD * 1e-6)
    assert conv.energy_error == 0
    assert conv.energy_gradient == pytest.approx(macs * (INT8_MULTIPLY + INT32_ADD) * 1e-6, rel=1e-4)
    assert conv.energy_update == pytest.approx(parameters * 8 * 0.003125 * 1e-6)
    assert conv.energy_training == conv.energy_inference + conv.energy_gradient + conv.energy_update
    per_cycle = 1e-6 / costs.CYCLES_PER_IMAGE
    assert conv.area_inference == pytest.approx(macs * 137 * per_cycle)
    training = macs * 137 + macs * (282 + 137) + parameters * 8 * 137 / 32
    assert conv.area_training == pytest.approx(training * per_cycle, rel=1e-4)
    assert conv.memory_inference == 18 + 72 + 64
    assert conv.memory_training == 72 + 72 + 64


def test_every_figure_of_a_later_layer():
    fc = costs.model_costs(two_layers("4-8-12-6")).layers[1]
    inputs, outputs, parameters = 2 * 2 * 4, 3, 2 * 2 * 4 * 3
    assert (fc.parameters, fc.macs) == (parameters, parameters)
    assert (fc.weight_bytes, fc.stored_bytes) == (48 * 4 // 8, 48 * 12 // 8)
    assert fc.activation_bytes == inputs + outputs * 4  # no Q_A after it: 32-bit sums
    assert fc.kept_bytes == inputs
    assert fc.error_bytes == (3 * 6 + 7) // 8 + 16 * 6 // 8
    forward, error, gradient = ((0.0029948 * b * b + 0.0010417 * b + 0.1) for b in (32**0.5, 24**0.5, 48**0.5))
    assert fc.energy_inference == pytest.approx(48 * forward * 1e-6)
    assert fc.energy_error == pytest.approx(48 * error * 1e-6)
    assert fc.energy_gradient == pytest.approx(48 * gradient * 1e-6)
    assert fc.energy_update == pytest.approx(48 * 12 * 0.003125 * 1e-6)


def test_float_layers_and_plain_keras_layers_cost_the_same():
    plain = chain(
        keras.layers.Conv2D(4, 3, use_bias=False),
        keras.layers.MaxPooling2D(2),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(3, use_bias=False),
    )
    float_costs, plain_costs = costs.model_costs(two_layers("f-f-f-f", "f-f-f-f")), costs.model_costs(plain)
    for layer, other in zip(float_costs.layers, plain_costs.layers, strict=True):
        measures = [getattr(layer, measure) for measure in costs.MEASURES]
        if layer.name == "conv":
            assert layer.energy_update == pytest.approx(72 * (FLOAT_MULTIPLY + FLOAT_ADD) * 1e-6)
            assert layer.energy_inference == pytest.approx(1152 * (FLOAT_MULTIPLY + FLOAT_ADD) * 1e-6)
            assert layer.activation_bytes == 4 * (72 + 64)
        assert measures == [getattr(other, measure) for measure in costs.MEASURES]


INTEGER_UPDATE = INT32_ADD, 137.0  # pJ, µm²
FLOAT_UPDATE = FLOAT_MULTIPLY + FLOAT_ADD, 7700.0 + 4184.0


@pytest.mark.parametrize(
    ("layer", "bits", "update"),
    [
        (QDense, "2-8-8-8", INTEGER_UPDATE),
        (QDense, "2-8-f-8", FLOAT_UPDATE),
        (QDense, "2-f-8-8", FLOAT_UPDATE),
        (QDense, "f-8-8-8", FLOAT_UPDATE),
        (keras.layers.Dense, None, FLOAT_UPDATE),
    ],
)
def test_the_update_of_a_bias_is_an_integer_add_where_the_bias_is_an_integer(layer, bits, update):
    pattern = {"bits": bits} if bits else {}
    without, with_bias = (
        costs.model_costs(chain(layer(3, use_bias=use_bias, **pattern), shape=(8,))).total for use_bias in (False, True)
    )
    energy, area = update
    assert with_bias.energy_update - without.energy_update == pytest.approx(3 * energy * 1e-6)
    assert with_bias.area_training - without.area_training == pytest.approx(3 * area * 1e-6 / costs.CYCLES_PER_IMAGE)
    assert with_bias.energy_inference == without.energy_inference


def test_a_bias_takes_32_bits():
    without, with_bias = (
        costs.model_costs(chain(QDense(3, use_bias=use_bias), shape=(8,))).total for use_bias in (False, True)
    )
    assert with_bias.parameters == without.parameters + 3
    assert with_bias.weight_bytes == without.weight_bytes + 12
    assert with_bias.stored_bytes == without.stored_bytes + 12
    assert with_bias.macs == without.macs


def test_total_adds_layers_and_takes_the_largest_pairs():
    counted = costs.model_costs(two_layers("2-8-8-8"))
    conv, fc = counted.layers
    assert counted.total.energy_training == pytest.approx(conv.energy_training + fc.energy_training)
    assert counted.total.memory_inference == conv.weight_bytes + fc.weight_bytes + 72 + 64
    assert counted.total.memory_training == conv.stored_bytes + fc.stored_bytes + (72 + 16) + 64


def test_groups_and_strides():
    conv = costs.model_costs(chain(QConv2D(8, 3, strides=2, padding="same", groups=2), shape=(9, 9, 4))).total
    assert conv.parameters == 3 * 3 * 2 * 8
    assert conv.macs == 5 * 5 * 8 * 3 * 3 * 2


def test_depthwise():
    """Each of 2·3 outputs of 6×6 positions adds 3·3 products up; α is that of a fan-in of nine."""
    image = keras.Input((6, 6, 3))
    layer = QDepthwiseConv2D(3, padding="same", depth_multiplier=2, bits="8-8-8-8", name="depthwise")
    cost = costs.model_costs(keras.Model(image, layer(image))).total
    assert (cost.parameters, cost.macs) == (9 * 6, 6 * 6 * 6 * 9)
    assert layer.alpha == initializers.layer_alpha((3, 3, 1, 6), "8-8-8-8")


def test_activation_width_is_that_of_the_quantizer_before_the_layer():
    model = chain(
        QRescaling(1 / 128, -1.0, "2-6-8-8"),
        QConv2D(4, 3, bits="2-8-8-8"),
        keras.layers.MaxPooling2D(2),
        QActivation("2-4-8-8"),
        keras.layers.Flatten(),
        QDense(3, bits="3-8-8-8"),
    )
    conv, fc = costs.model_costs(model).layers
    assert (str(conv.bits), str(fc.bits)) == ("2-6-8-8", "3-4-8-8")
    assert conv.activation_bytes == 72 * 6 // 8 + 64 * 4 // 8


@pytest.mark.parametrize(
    "between", [keras.layers.AveragePooling2D(2), keras.layers.BatchNormalization(), keras.layers.Rescaling(0.3)]
)
def test_activation_width_falls_back_where_the_grid_is_left(between):
    model = chain(QRescaling(1 / 128, -1.0, "2-6-8-8"), between, QConv2D(4, 3, bits="2-8-8-8"))
    assert costs.model_costs(model).layers[0].bits.a == 8


def test_branches():
    image = keras.Input((6, 6, 2))
    pixels = QRescaling(1 / 128, -1.0)(image)
    left = QActivation("2-4-8-8")(QConv2D(4, 3, bits="2-4-8-8", name="left")(pixels))
    right = QConv2D(4, 3, bits="2-8-8-8", name="right")(pixels)
    merged = keras.layers.Flatten()(keras.layers.Add()([left, right]))
    model = keras.Model(image, QDense(2, bits="2-5-8-8", name="fc")(merged))
    layers = {layer.name: layer for layer in costs.model_costs(model).layers}
    assert layers["left"].energy_error == layers["right"].energy_error == 0
    assert layers["fc"].energy_error > 0
    assert layers["fc"].bits.a == 5
    assert layers["left"].activation_bytes == 72 + 64 // 2
    assert layers["right"].activation_bytes == 72 + 64 * 4


def test_nested_model_counts_its_layers():
    inner = chain(QConv2D(4, 3), keras.layers.Flatten())
    counted = costs.model_costs(chain(inner, QDense(3)))
    assert [layer.macs for layer in counted.layers] == [1152, 64 * 3]


def test_vgg7_has_the_macs_and_parameters_of_its_layer_list():
    counted = costs.model_costs(models.build("vgg7", "2-8-8-8", (32, 32, 3), 10))
    assert [layer.parameters for layer in counted.layers] == [fan_in * units for fan_in, units, _ in VGG7]
    assert [layer.macs for layer in counted.layers] == [fan_in * units * pixels for fan_in, units, pixels in VGG7]
    assert counted.total.parameters == 12_973_440
    assert counted.total.macs == 615_917_568
    assert counted.total.activation_bytes == 2 * 32 * 32 * 128


def test_ternary_weights_take_a_sixteenth_of_float32():
    ternary, floats = vgg7_total("2-8-8-8"), vgg7_total("f-f-f-f")
    assert 16 * ternary.weight_bytes == floats.weight_bytes == 4 * floats.parameters
    assert 32 * vgg7_total("1-8-8-8").weight_bytes == floats.weight_bytes


def test_fewer_bits_are_cheaper():
    ternary, int8, floats = (vgg7_total(bits) for bits in ("2-8-8-8", "8-8-8-8", "f-f-f-f"))
    for measure in costs.MEASURES:
        assert getattr(ternary, measure) <= getattr(int8, measure) < getattr(floats, measure)
    for measure in set(costs.MEASURES) - {"memory_training"}:
        assert getattr(ternary, measure) < getattr(int8, measure)


def test_stored_weights_are_never_narrower_than_the_weights():
    assert costs.model_costs(two_layers("8-8-4-8")).layers[0].stored_bytes == 72


WIDTHS = {"w": 1, "a": 2, "g": 2, "e": 2}


@st.composite
def narrower_and_wider(draw):
    """Two patterns that differ in one operand, the narrower first; float counts as wider than any integer."""
    widths = {name: draw(st.sampled_from([*range(low, 17), None])) for name, low in WIDTHS.items()}
    operand = draw(st.sampled_from(list(WIDTHS)))
    pair = draw(st.lists(st.sampled_from([*range(WIDTHS[operand], 17), 32]), min_size=2, max_size=2))
    return [BitWidths(**widths).replace(**{operand: None if w == 32 else w}) for w in sorted(pair)]


@settings(max_examples=30, deadline=None)
@given(narrower_and_wider())
def test_no_measure_falls_with_a_width(pair):
    narrow, wide = (costs.model_costs(two_layers(bits, bits)).total for bits in pair)
    for measure in costs.MEASURES:
        assert getattr(narrow, measure) <= getattr(wide, measure) * (1 + 1e-12), (pair, measure)


def test_relative_gives_shares():
    ternary, floats = costs.model_costs(two_layers("2-8-8-8")), costs.model_costs(two_layers("f-f-f-f"))
    shares = costs.relative(ternary, floats)
    assert tuple(shares) == costs.MEASURES
    assert shares["energy_inference"] == ternary.total.energy_inference / floats.total.energy_inference
    assert set(costs.relative(ternary.total, ternary).values()) == {1.0}


def test_table_has_a_row_per_layer_and_the_total():
    counted = costs.model_costs(models.build("vgg7", "2-8-8-8", (32, 32, 3), 10))
    header, *rows, inference, training = costs.format_table(counted).splitlines()
    assert [row.split()[0] for row in rows] == [layer.name for layer in counted.layers] + ["total"]
    assert len({len(line) for line in (header, *rows)}) == 1
    assert max(map(len, (header, inference, training))) <= 100
    assert " ".join(rows[-1].split()) == "total 13 M 616 M 3.24 MB 13 MB 262 kB 61.6 µJ 308 µJ"
    assert "3.51 MB, 61.6 µJ" in inference
    assert training.startswith("training")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (7, "", "7"),
        (999, "B", "999 B"),
        (999.7, "B", "1 kB"),
        (1000, "", "1 k"),
        (2.5e-7, "J", "250 nJ"),
    ],
)
def test_human_units(value, unit, text):
    assert costs.human(value, unit) == text


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.fc = QDense(3)

    def call(self, inputs):
        return self.fc(inputs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "vgg7", "received 'vgg7'"),
        (lambda: chain(keras.layers.Flatten()), "received 'chain' without one"),
        (lambda: chain(QConv2D(4, 3, name="conv"), shape=(None, None, 2)), "'conv' received the shape"),
        (lambda: keras.Sequential([QDense(3, name="fc")]), "'fc' has not been called"),
        (Subclassed, "has not been called"),
    ],
)
def test_bad_models_are_named(model, message):
    with pytest.raises(ValueError, match=f"^model: .*{message}"):
        costs.model_costs(model())
