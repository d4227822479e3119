"""The generated C of training: the tables of the trained layers, and the forward pass of a batch."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from wage_tf import native
from wage_tf.export import c_block, packed
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_parts import Source, comment, filters_first, numbers
from wage_tf.export.c_tail import Errors, Layer, Parameter, Tail
from wage_tf.export.card import Card
from wage_tf.integer.arithmetic import fraction_bits
from wage_tf.integer.nodes import Bias, Kernel

_FOLDER = Path(__file__).parent / "src"
_SOURCES = (
    *(_FOLDER / name for name in ("wage_train.h", "wage_train.c", "wage_update.c", "wage_state.c")),
    Path(native.__file__).parent / "src" / "wage_integers.h",
)

FIELDS = Template("""
    int8_t stored[WAGE_STORED]; /* weights that are trained */
$biases    uint32_t step;              /* steps done */
    int32_t log2_rate;          /* log2 of the learning rate */""")

BIAS_FIELD = "    int32_t biases[WAGE_BIASES]; /* and biases */\n"

STEP_FIELDS = """
    int32_t stored;      /* first of the stored weights, where there are no packed ones, */
    const int8_t *codes; /* and the code of every stored byte; */
    int32_t stored_bias, bias_scale; /* first of the stored biases, or -1, and their unit in that of the sums */"""

SIZES = Template("""\
/* Training: from the layer $first on. */
#define WAGE_BATCH $batch /* the most images of a step */
#define WAGE_LAYERS $layers
#define WAGE_PARAMETERS $parameters
#define WAGE_ERRORS $errors
#define WAGE_SCHEDULE $schedule
#define WAGE_WIDE $wide /* sums of errors can pass 32 bits */
#define WAGE_MASK_FIRST $mask_first /* Q_A's mask of the scores' errors comes before Q_E, not after it */
#define WAGE_STORED $stored /* trained weights, a byte each */
#define WAGE_BIASES $biases /* trained biases, four bytes each */
#define WAGE_BLOCK_BYTES (WAGE_STORED + 4 * WAGE_BIASES + $overhead)
#define WAGE_MODEL UINT32_C($model)
#define WAGE_SEED UINT32_C($seed)
#define WAGE_STEP UINT32_C($step)
#define WAGE_LOG2_RATE ($log2_eta)

""")

HEADER = """
enum wage_status {
    WAGE_OK = 0,
    WAGE_COUNT = 1,   /* no image, or more than WAGE_BATCH */
    WAGE_LABEL = 2,   /* a label that is no class */
    WAGE_RATE = 3,    /* a learning rate out of 2^-62 to 2^30 */
    WAGE_BLOCK = 4,   /* no block of this version, or cut or damaged */
    WAGE_FOREIGN = 5  /* a block of another network */
};

/* The weights as they were exported: once, before all else. */
void wage_network_init(wage_network *network);

/* One step on `count` images, one after the other, and their classes. Another status than 0: nothing was changed. */
int wage_network_train_step(wage_network *network, const uint8_t *images, const uint8_t *labels, int32_t count);
int wage_network_set_learning_rate(wage_network *network, int log2);

/* The trained weights with the count of steps and the rate as one checked block of WAGE_BLOCK_BYTES. A block that is
 * cut, damaged or another network's is refused, and the weights stay as they are. */
void wage_network_save(const wage_network *network, uint8_t *block);
int wage_network_load(wage_network *network, const uint8_t *block, int32_t size);
"""

SINGLE_HEADER = """\
int wage_train_step(const uint8_t *images, const uint8_t *labels, int32_t count);
int wage_set_learning_rate(int log2);
void wage_save(uint8_t *block);
int wage_load(const uint8_t *block, int32_t size);
"""

FORWARD = Template("""\
const wage_parameter wage_parameters[WAGE_PARAMETERS] = {
$parameter_rows
};

const wage_layer wage_layers[WAGE_LAYERS] = {
$layer_rows
};

const wage_source wage_sources[] = {
$source_rows
};

const wage_errors wage_errors_of[WAGE_ERRORS] = {
$error_rows
};

const int16_t wage_schedule[WAGE_SCHEDULE] = {
$schedule_row
};

const int8_t wage_initial[WAGE_STORED] = {
$initial
};
$initial_biases
const int32_t *wage_forward(wage_network *network, const uint8_t *images, int32_t count, int training)
{
    int32_t *arena = network->arena, n;
    for (n = 0; n < count; n++) {
        const uint8_t *image = images + n * WAGE_PIXELS;
$before
    }
$layers
    return $scores;
}

void wage_network_infer(wage_network *network, const uint8_t *image, int32_t *scores)
{
    const int32_t *found = wage_forward(network, image, 1, 0);
    int32_t i;
    for (i = 0; i < WAGE_OUTPUTS; i++)
        scores[i] = found[i];
}""")

SINGLE = """
static int is_ready;

static wage_network *initialized(void)
{
    if (!is_ready)
        wage_network_init(&only);
    is_ready = 1;
    return &only;
}

int wage_train_step(const uint8_t *images, const uint8_t *labels, int32_t count)
{
    return wage_network_train_step(initialized(), images, labels, count);
}

int wage_set_learning_rate(int log2)
{
    return wage_network_set_learning_rate(initialized(), log2);
}

void wage_save(uint8_t *block)
{
    wage_network_save(initialized(), block);
}

int wage_load(const uint8_t *block, int32_t size)
{
    return wage_network_load(initialized(), block, size);
}
"""


BIASES = Template("""
const int32_t wage_initial_biases[WAGE_BIASES] = {
$initial
};
""")


def sources() -> dict[str, str]:
    """The files of the runtime by name, which are the same for every network."""
    return {path.name: path.read_text() for path in _SOURCES}


def parts(layout: Layout, source: Source) -> dict[str, str]:
    """The fields of the templates `c_source.HEADER` and `SOURCE` that belong to training."""
    training, tail = layout.training, layout.tail
    schedule, kernels, biases = tail.schedule(), stored_of(tail, Kernel), stored_of(tail, Bias)
    sizes = SIZES.substitute(
        first=comment(tail.layers[0].name),
        batch=training.batch,
        layers=len(tail.layers),
        parameters=len(tail.parameters),
        errors=len(tail.errors),
        schedule=len(schedule),
        wide=int(tail.is_wide),
        mask_first=int(tail.errors[0].is_mask_first),
        stored=kernels.size,
        biases=biases.size,
        overhead=c_block.OVERHEAD,
        model=zlib.crc32(packed.to_bytes(layout.graph, Card("", "", "", ()))),
        seed=training.seed % 2**32,
        step=training.step % 2**32,
        log2_eta=training.log2_eta,
    )
    places = [tail.errors.index(x) if isinstance(x, Errors) else ~tail.layers.index(x) for x in schedule]
    forward = FORWARD.substitute(
        parameter_rows=_table(map(_parameter_row, tail.parameters)),
        layer_rows=_table(_layer_row(layer, tail, source) for layer in tail.layers),
        source_rows=_table(_source_rows(tail)),
        error_rows=_table(_error_rows(tail, source)),
        schedule_row=numbers(places),
        initial=numbers(kernels.tolist()),
        initial_biases=BIASES.substitute(initial=numbers(biases.tolist())) if biases.size else "",
        before=textwrap.indent("\n".join(source.calls), " " * 4),
        layers="\n".join(source.batch_calls),
        scores=source.pointer(layout.network.stages[-1].name),
    )
    return {
        "fields": FIELDS.substitute(biases=BIAS_FIELD if biases.size else ""),
        "step_fields": STEP_FIELDS,
        "training_sizes": sizes,
        "training": HEADER,
        "single": SINGLE,
        "single_header": SINGLE_HEADER,
        "include": '\n#include "wage_train.h"\n',
        "infer": forward,
        "only": "initialized()",
    }


def stored_of(tail: Tail, kind: type[Kernel | Bias]) -> np.ndarray:
    """The numbers of all trained kernels or of all trained biases, in the order of the C code."""
    found = [filters_first(x.value.accumulators).ravel() for x in tail.parameters if isinstance(x.value, kind)]
    return np.concatenate([np.zeros(0, np.int32), *found])


def _table(rows: Iterable[Sequence[object]]) -> str:
    return ",\n".join(f"    {{{', '.join(map(str, row))}}}" for row in rows)


def _parameter_row(parameter: Parameter[Any]) -> list[object]:
    value = parameter.value
    grid = value.fraction - fraction_bits(value.gradient_width)
    is_bias, variable = int(isinstance(value, Bias)), f"UINT32_C({value.variable})"
    return [parameter.first, value.codes.size, is_bias, variable, grid, value.limit]


def _layer_row(layer: Layer, tail: Tail, source: Source) -> list[object]:
    window = layer.window
    pads = [before for before, _ in window.pads(layer.inputs)]
    sizes = [*layer.inputs, *layer.outputs, *window.size, *window.strides, *window.dilation, *pads, *layer.pool]
    place = source.memory.places[layer.stage.inputs[0]].offset if layer.stage else 0
    parameters = [-1 if x is None else tail.parameters.index(x) for x in (layer.kernel, layer.bias)]
    codes = source.code_tables[layer.name] if layer.kernel else "NULL"
    return [*sizes, layer.groups, place, tail.errors.index(layer.errors), layer.fraction, *parameters, codes]


def _source_rows(tail: Tail) -> list[tuple[int, ...]]:
    """The sources of all errors one after the other; a row of zeros, which nobody reads, where there are none."""
    sources = [source for errors in tail.errors for source in errors.sources]
    return [(tail.layers.index(layer), *view.numbers) for layer, view in sources] or [(0,) * 8]


def _error_rows(tail: Tail, source: Source) -> Iterator[Sequence[object]]:
    first = 0
    for errors in tail.errors:
        places = [where[errors].offset for where in (source.memory.gates, source.memory.errors)]
        yield *places, errors.size, errors.limit, first, len(errors.sources)
        first += len(errors.sources)
