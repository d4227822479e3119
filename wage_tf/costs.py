"""What a network costs at its bit widths: parameters, MACs, memory, arithmetic energy and area, per image.

Arithmetic only: reading memory, moving data, pooling, activation functions, the quantizers themselves and the adds of a
bias are left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import keras

from wage_tf.bits import BitWidths
from wage_tf.layers import QActivation, QError, QRescaling

ACCUMULATOR_BITS = 32
CYCLES_PER_IMAGE = 1_000_000
MEASURES = tuple(f"{what}_{use}" for what in ("memory", "energy", "area") for use in ("inference", "training"))
_FLOAT = BitWidths(None, None, None, None)
_KERNEL_LAYERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
_KEEPS_GRID = (
    *(keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape, QError),
    *(keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D, keras.layers.ZeroPadding2D),
    *(keras.layers.ReLU, keras.layers.Dropout, keras.layers.Identity),
)


class Price(NamedTuple):
    """Energy (pJ) of one operation and area (µm²) of the unit that does it, in a 45 nm process.

    Figures: M. Horowitz, "Computing's energy problem", ISSCC 2014; the fits below go through his 8- and 32-bit units.

    Attributes:
        energy: pJ of one operation.
        area: µm² of the unit.
    """

    energy: float
    area: float

    def __add__(self, other: Price) -> Price:  # type: ignore[override]
        return Price(self.energy + other.energy, self.area + other.area)


_NOTHING = Price(0.0, 0.0)
_FLOAT_MULTIPLY = Price(3.7, 7700.0)
_FLOAT_ADD = Price(0.9, 4184.0)


def multiply_price(x: int | None, y: int | None) -> Price:
    """Price of multiplying operands of `x` and `y` bits; None is float32.

    Integers: 0.0029948·b² + 0.0010417·b pJ and 3.08203·b² + 10.59375·b µm², through 0.2 pJ, 282 µm² at 8 bits and
    3.1 pJ, 3495 µm² at 32. For unequal widths b = √(x·y), because an array multiplier has x·y cells: the leading term
    is exact and equal widths give the published figure. An operand of 1 or 2 bits is a sign (and a zero), so its
    product is a gate before the add and costs nothing here. Otherwise a float32 operand makes it a float32 multiply.
    """
    if any(width is not None and width <= 2 for width in (x, y)):
        return _NOTHING
    if x is None or y is None:
        return _FLOAT_MULTIPLY
    b = math.sqrt(x * y)
    return Price(0.0029948 * b**2 + 0.0010417 * b, 3.08203125 * b**2 + 10.59375 * b)


def add_price(width: int | None) -> Price:
    """Price of an add of `width` bits, None being float32: 0.003125·b pJ and 4.28125·b µm².

    Both lines go through the 32-bit adder (0.1 pJ, 137 µm²). At 8 bits they give 0.025 pJ and 34 µm² where the table
    has 0.03 and 36; the line is used there too, so that an adder never gets cheaper with width.
    """
    return _FLOAT_ADD if width is None else Price(0.003125 * width, 4.28125 * width)


def mac_price(x: int | None, y: int | None) -> Price:
    """Price of one multiply-accumulate; sums of integer products are kept in 32 bits, all others in float32."""
    return multiply_price(x, y) + add_price(None if x is None or y is None else ACCUMULATOR_BITS)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of one image (batch 1); a training step is forward, error backward, weight gradient and update.

    The parts of a training step do as many MACs as the forward pass; only their operands' widths differ.

    Attributes:
        parameters: Numbers in kernels and biases.
        macs: Multiply-accumulates of the forward pass, those on padding included.
        weight_bytes: Kernels at k_W bits, packed (binary 1, ternary 2, float 32); biases at 32.
        stored_bytes: Weights that training updates, at k_G bits (k_W where that is wider); biases at 32.
        activation_bytes: Input and output (before pooling) of a layer, alive together in inference; of the network the
            largest pair.
        kept_bytes: Inputs of the layers, kept for the weight gradient; of the network their sum. Masks are not counted.
        error_bytes: Error at a layer's output and input at k_E bits; of the network the largest pair.
        energy_inference: Energy of the forward pass, µJ: macs × mac_price(W, A).
        energy_error: Energy of the error's backward pass, µJ: macs × mac_price(W, E); 0 for the first layer.
        energy_gradient: Energy of the weight gradient, µJ: macs × mac_price(A, E).
        energy_update: Energy of the update, µJ: an add per parameter at its stored width. η is a shift and random
            numbers are left out; in float32, as with k_G = f, the add is one too and η a multiply.
        area_inference: Area, mm², of the units that do the forward pass in CYCLES_PER_IMAGE cycles (1 ms at 1 GHz), an
            operation per unit and cycle: units = operations / CYCLES_PER_IMAGE, fractions allowed.
        area_training: The same for a training step, mm².
    """

    parameters: int
    macs: int
    weight_bytes: int
    stored_bytes: int
    activation_bytes: int
    kept_bytes: int
    error_bytes: int
    energy_inference: float
    energy_error: float
    energy_gradient: float
    energy_update: float
    area_inference: float
    area_training: float

    @property
    def energy_training(self) -> float:
        """Energy of a training step on one image, µJ."""
        return self.energy_inference + self.energy_error + self.energy_gradient + self.energy_update

    @property
    def memory_inference(self) -> int:
        """Bytes: weights, and the pair of activations alive at once."""
        return self.weight_bytes + self.activation_bytes

    @property
    def memory_training(self) -> int:
        """Bytes: stored weights, activations kept, and the pair of errors alive at once; no gradient sums."""
        return self.stored_bytes + self.kept_bytes + self.error_bytes


@dataclasses.dataclass(frozen=True)
class LayerCost(Cost):
    """Cost of one layer with a kernel: its name, and the widths counted (A: the activation that enters)."""

    name: str
    bits: BitWidths


@dataclasses.dataclass(frozen=True)
class ModelCosts:
    """Costs of a network: its name, every layer with a kernel in order, and the whole."""

    name: str
    layers: tuple[LayerCost, ...]
    total: Cost


def model_costs(model: keras.Model) -> ModelCosts:
    """Counts a Sequential or Functional model that has been built with a fixed image size.

    Counted are QConv2D, QDepthwiseConv2D, QDense, and Keras' own as float32. W, G and E are the layer's own `bits`. A
    is the width of the QActivation or QRescaling before it, found through layers that stay on its grid (pooling by
    maximum, reshaping, padding, ReLU, Dropout, QError); where anything else is between, such as a merge, the layer's
    own `bits.a`.
    Its output is stored at the width of the QActivation that follows, else as 32-bit sums. Layers in a nested model
    count as preceded by other layers. A layer used in several places counts once, as at its first call.

    Raises:
        ValueError: If `model` is no Keras model, has no such layer, or one whose shapes are not known.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model: needs a Keras model; received {model!r}")
    signals = {id(tensor): _Signal(after_kernel=False) for tensor in getattr(model, "inputs", ())}
    places = _places(model, signals)
    if not places:
        raise ValueError(f"model: needs a Conv2D or Dense layer, quantized or not; received {model.name!r} without one")
    layers = tuple(_layer_cost(place) for place in places)
    total = {field.name: sum(getattr(layer, field.name) for layer in layers) for field in dataclasses.fields(Cost)}
    for pair in ("activation_bytes", "error_bytes"):
        total[pair] = max(getattr(layer, pair) for layer in layers)
    return ModelCosts(model.name, layers, Cost(**total))


def relative(cost: Cost | ModelCosts, reference: Cost | ModelCosts) -> dict[str, float]:
    """Returns memory, energy and area as shares of the reference's, 0.25 being a quarter of its cost.

    Each has two: "memory_inference" and "memory_training", and so on.
    """
    cost, reference = (x.total if isinstance(x, ModelCosts) else x for x in (cost, reference))
    return {measure: getattr(cost, measure) / getattr(reference, measure) for measure in MEASURES}


def format_table(costs: ModelCosts) -> str:
    """Returns an aligned table for a terminal: a row per layer, the total, and a line for inference and for training.

    `weights` are the bytes of inference and `stored` those of training; `activations` are the largest pair.
    """
    header = ("layer", "W-A-G-E", "parameters", "MACs", "weights", "stored", "activations", "forward", "training step")
    rows = [header, *((layer.name, str(layer.bits), *_cells(layer)) for layer in costs.layers)]
    rows.append(("total", "", *_cells(costs.total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<" + ">" * (len(header) - 2)
    lines = ["  ".join(f"{t:{side}{w}}" for t, side, w in zip(row, sides, widths, strict=True)) for row in rows]
    for use in ("inference", "training"):
        memory, energy, area = (getattr(costs.total, f"{measure}_{use}") for measure in ("memory", "energy", "area"))
        lines.append(f"{use} of an image: {human(memory, 'B')}, {human(energy * 1e-6, 'J')}, {area:.3g} mm² at 45 nm")
    return "\n".join(lines)


def _cells(cost: Cost) -> tuple[str, ...]:
    counts = (human(count) for count in (cost.parameters, cost.macs))
    sizes = (human(size, "B") for size in (cost.weight_bytes, cost.stored_bytes, cost.activation_bytes))
    energies = (human(energy * 1e-6, "J") for energy in (cost.energy_inference, cost.energy_training))
    return (*counts, *sizes, *energies)


def human(value: float, unit: str = "") -> str:
    """Three significant digits with a decimal prefix: 14.2 M, 3.54 MB, 62.1 µJ."""
    exponent = min(max(int(f"{value:.2e}".split("e")[1]) // 3, -4), 4)
    return f"{value / 1000**exponent:.3g} {('p', 'n', 'µ', 'm', '', 'k', 'M', 'G', 'T')[exponent + 4]}{unit}".rstrip()


@dataclasses.dataclass
class _Place:
    """A layer with a kernel, the widths of its operands, and what surrounds it in the graph."""

    layer: keras.layers.Layer
    bits: BitWidths
    after_kernel: bool
    output_width: int | None = ACCUMULATOR_BITS


class _Signal(NamedTuple):
    """What is known of a tensor: width if on a grid (`known`), whose output it carries, whether a kernel is before."""

    known: bool = False
    width: int | None = None
    source: _Place | None = None
    after_kernel: bool = True


def _places(model: keras.Model, signals: dict[int, _Signal]) -> list[_Place]:
    places = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            places += _places(layer, {})
        elif not isinstance(layer, keras.layers.InputLayer):
            inputs, outputs = _tensors(layer)
            signal = _after(layer, [signals.get(id(tensor), _Signal()) for tensor in inputs])
            signals.update((id(tensor), signal) for tensor in outputs)
            if isinstance(layer, _KERNEL_LAYERS):
                places.append(signal.source)
    return places


def _after(layer: keras.layers.Layer, inputs: list[_Signal]) -> _Signal:
    before = inputs[0] if len(inputs) == 1 else _Signal(after_kernel=any(x.after_kernel for x in inputs))
    if isinstance(layer, _KERNEL_LAYERS):
        bits = getattr(layer, "bits", _FLOAT)
        place = _Place(layer, bits.replace(a=before.width) if before.known else bits, before.after_kernel)
        return _Signal(source=place)
    if isinstance(layer, (QActivation, QRescaling)):
        if before.source is not None:
            before.source.output_width = layer.bits.a
        return _Signal(True, layer.bits.a, None, before.after_kernel)
    return before if isinstance(layer, _KEEPS_GRID) else before._replace(known=False, width=None)


def _tensors(layer: keras.layers.Layer) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    rule = f"model: costs need a Sequential or Functional model of fixed image size; the layer {layer.name!r}"
    try:
        inputs, outputs = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
    except AttributeError:
        raise ValueError(f"{rule} has not been called on a Keras input") from None
    for tensor in (*inputs, *outputs):
        if isinstance(layer, _KERNEL_LAYERS) and None in tensor.shape[1:]:
            raise ValueError(f"{rule} received the shape {tensor.shape}")
    return inputs, outputs


def _layer_cost(place: _Place) -> LayerCost:
    layer, bits = place.layer, place.bits
    kernel, biases = math.prod(layer.kernel.shape), 0 if layer.bias is None else math.prod(layer.bias.shape)
    inputs, outputs = math.prod(layer.input.shape[1:]), math.prod(layer.output.shape[1:])
    macs = outputs * _terms(layer)
    stored_width = None if bits.w is None or bits.g is None else max(bits.w, bits.g)
    prices = {
        "forward": (macs, mac_price(bits.w, bits.a)),
        "error": (macs if place.after_kernel else 0, mac_price(bits.w, bits.e)),
        "gradient": (macs, mac_price(bits.a, bits.e)),
        "update": (kernel, add_price(stored_width) + (_FLOAT_MULTIPLY if bits.g is None else _NOTHING)),
        "bias": (biases, add_price(ACCUMULATOR_BITS) if hasattr(layer.bias, "bits") else _FLOAT_ADD + _FLOAT_MULTIPLY),
    }
    energy = {name: count * price.energy * 1e-6 for name, (count, price) in prices.items()}
    area = {name: count * price.area * 1e-6 / CYCLES_PER_IMAGE for name, (count, price) in prices.items()}
    return LayerCost(
        name=layer.name,
        bits=bits,
        parameters=kernel + biases,
        macs=macs,
        weight_bytes=_bytes(kernel, bits.w) + _bytes(biases, None),
        stored_bytes=_bytes(kernel, stored_width) + _bytes(biases, None),
        activation_bytes=_bytes(inputs, bits.a) + _bytes(outputs, place.output_width),
        kept_bytes=_bytes(inputs, bits.a),
        error_bytes=_bytes(outputs, bits.e) + (_bytes(inputs, bits.e) if place.after_kernel else 0),
        energy_inference=energy["forward"],
        energy_error=energy["error"],
        energy_gradient=energy["gradient"],
        energy_update=energy["update"] + energy["bias"],
        area_inference=area["forward"],
        area_training=sum(area.values()),
    )


def _terms(layer: keras.layers.Layer) -> int:
    """Products that one sum adds up."""
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return math.prod(layer.kernel.shape[:2] if is_depthwise else layer.kernel.shape[:-1])


def _bytes(count: int, width: int | None) -> int:
    """Bytes of `count` packed numbers of `width` bits, the last byte filled up; None is float32."""
    return -(-count * (32 if width is None else width) // 8)
