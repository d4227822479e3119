import warnings

import keras
import numpy as np
import pytest

import oracle
from support.tensors import assert_equal, assert_same_bits, plain_operations
from wage_tf.constraints import ClipToGrid
from wage_tf.layers import QActivation, QDense, QError
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD, gradient_bits

NUMBERS = np.random.default_rng(0)
X = (NUMBERS.integers(-127, 128, (32, 12)) / 128).astype(np.float32)
T = np.eye(4, dtype=np.float32)[NUMBERS.integers(0, 4, 32)]


def network(bits="2-8-8-8", **dense):
    layers = [
        keras.Input((12,)),
        QDense(16, bits=bits, name="first", **dense),
        QActivation(bits),
        QDense(4, bits=bits, name="second", **dense),
        QError(bits),
    ]
    return keras.Sequential(layers)


def compiled(optimizer, bits="2-8-8-8", **dense):
    keras.utils.set_random_seed(5)
    model = network(bits, **dense)
    model.compile(optimizer, SumSquaredError())
    return model


def train(model, steps=3):
    with plain_operations():
        for _ in range(steps):
            model.train_on_batch(X, T)
    return model.get_weights()


def kernel(value, bits="2-8-8-8", constraint=None, name="kernel"):
    """A variable that an optimizer takes for a layer's quantized kernel."""
    from wage_tf import BitWidths

    variable = keras.Variable(np.asarray(value, np.float32), name=name)
    variable.bits = BitWidths.parse(bits)
    variable.constraint = constraint
    return variable


def test_one_step_is_the_quantized_gradient():
    g = NUMBERS.standard_normal((5, 6)).astype(np.float32)
    first, second = kernel(np.zeros((5, 6))), kernel(np.zeros((5, 6)))
    optimizer = IntegerSGD(8.0, 8, seed=11)
    optimizer.build([first, second])
    optimizer.apply([g, g], [first, second])
    for index, variable in enumerate((first, second)):
        assert_equal(variable, -oracle.quantize_gradient(g, 8, 8.0, oracle.variable_seed(11, index, 0)))
    assert np.any(first.numpy() != second.numpy())
    before = first.numpy()
    optimizer.apply([g, g], [first, second])
    assert_equal(first, before - oracle.quantize_gradient(g, 8, 8.0, oracle.variable_seed(11, 0, 1)))


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**32 - 1, -5, np.int32(3)])
def test_any_integer_is_a_seed(seed):
    g = NUMBERS.standard_normal(50).astype(np.float32)
    variables = [kernel(np.zeros(50)) for _ in range(3)]
    optimizer = IntegerSGD(1.0, 8, seed=seed)
    assert type(optimizer.get_config()["seed"]) is int
    optimizer.build(variables)
    optimizer.apply([g] * 3, variables)
    for index, variable in enumerate(variables):
        assert_equal(variable, -oracle.quantize_gradient(g, 8, 1.0, oracle.variable_seed(int(seed), index, 0)))


@pytest.mark.parametrize(("k", "bound"), [(2, 0.5), (1, 1.0), (8, 1 - 1 / 128)])
def test_weights_are_clipped(k, bound):
    start = np.array([bound, -bound, 0.0], np.float32)
    variable = kernel(start, constraint=ClipToGrid(k))
    optimizer = IntegerSGD(8.0, 8, seed=1)
    optimizer.build([variable])
    optimizer.apply([np.array([-1.0, 1.0, 1.0], np.float32)], [variable])
    assert_equal(variable, [bound, -bound, -8 / 128])


def test_ternary_weights_stay_within_half_and_on_the_grid():
    for constraint, bound in ((None, 0.5), (ClipToGrid(8), 1 - 1 / 128)):
        weights = train(compiled(IntegerSGD(32.0, 8, seed=1), kernel_constraint=constraint), 6)
        for w in weights:
            assert_equal(w * 128, np.rint(w * 128))
        assert max(np.max(np.abs(w)) for w in weights) == bound


@pytest.mark.parametrize("k", [2, 4, 8, 12])
def test_weights_stay_on_the_update_grid(k):
    weights = train(compiled(IntegerSGD(2.0 ** (k - 5), k, seed=1), f"2-8-{k}-8"), 4)
    codes = [w * 2.0 ** (k - 1) for w in weights]
    assert all(np.all(code == np.rint(code)) for code in codes)
    assert k <= 4 or any(np.any(code % 2) for code in codes)


def test_schedule():
    rates = []

    class Recorder(IntegerSGD):
        def update_step(self, gradient, variable, learning_rate):
            rates.append(float(learning_rate))
            super().update_step(gradient, variable, learning_rate)

    optimizer = Recorder(keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [8.0, 1.0, 0.125]), 8, seed=1)
    variable = kernel([0.0, 0.0])
    optimizer.build([variable])
    expected = np.zeros(2)
    for step, rate in enumerate([8.0, 8.0, 1.0, 0.125]):
        optimizer.apply([np.array([1.0, -0.5], np.float32)], [variable])
        expected -= oracle.quantize_gradient([1.0, -0.5], 8, rate, oracle.variable_seed(1, 0, step))
        assert_equal(variable, expected)
    assert rates == [8.0, 8.0, 1.0, 0.125]


@pytest.mark.parametrize("learning_rate", [0.1, 3.0, 0.0, -1.0, 7.999])
def test_learning_rate_that_is_no_power_of_two_warns(learning_rate):
    with pytest.warns(UserWarning, match=f"power of two .* received {learning_rate}"):
        IntegerSGD(learning_rate, 8)


@pytest.mark.parametrize(
    ("learning_rate", "bits"),
    [
        *((8.0, 8), (1, 8), (0.125, 8), (2.0**-16, 8), (0.1, None)),
        (keras.optimizers.schedules.PiecewiseConstantDecay([700, 710], [8.0, 1.0, 0.125]), 8),
        (keras.optimizers.schedules.ExponentialDecay(8.0, 1000000, 0.5, staircase=True), 8),
        (keras.optimizers.schedules.ExponentialDecay(8.0, 1000, 0.5, staircase=True), 8),  # 2^-20 at step 23,000
    ],
)
def test_other_learning_rates_do_not_warn(learning_rate, bits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IntegerSGD(learning_rate, bits)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_optimizer_that_ignores_the_gradients_width_warns_once(optimizer):
    model = compiled(optimizer, "2-8-8-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        model.fit(X, T, epochs=3, batch_size=8, verbose=0)
    assert len(caught) == 1
    for part in ("k_G = 8 is ignored", "kernels of 2-8-8-8", "IntegerSGD", "bits='2-8-f-8'"):
        assert part in str(caught[0].message)


def test_an_optimizer_that_has_no_width_to_ignore_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(compiled("adam", "2-8-f-8"))
        train(compiled(IntegerSGD(8.0, 8, seed=1)))


def test_a_learning_rate_that_is_set_warns():
    optimizer = IntegerSGD(8.0, 8)
    with pytest.warns(UserWarning, match=r"power of two .* received 0\.8.*factor=0\.5"):
        optimizer.learning_rate = 0.8
    assert float(optimizer.learning_rate) == np.float32(0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.learning_rate = 0.5
        IntegerSGD(8.0, "f").learning_rate = 0.8


@pytest.mark.parametrize(("factor", "warned"), [(0.1, True), (0.125, False)])
def test_reduce_on_plateau_warns_once(factor, warned):
    model = compiled(IntegerSGD(8.0, 8, seed=1))
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=factor, patience=1, min_delta=1e9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, T, epochs=3, verbose=0, callbacks=[plateau])
    assert float(model.optimizer.learning_rate) < 1.1
    assert len([w for w in caught if "power of two" in str(w.message)]) == warned


@pytest.mark.parametrize(
    ("schedule", "received"),
    [
        (keras.optimizers.schedules.CosineDecay(8.0, 100), "7.99"),
        (keras.optimizers.schedules.PiecewiseConstantDecay([700, 710], [8.0, 3.0, 1.0]), "3.0"),
        (keras.optimizers.schedules.ExponentialDecay(8.0, 1000, 0.1, staircase=True), "0.8"),
    ],
)
def test_a_schedule_that_leaves_the_powers_of_two_warns_once(schedule, received):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        IntegerSGD(schedule, 8)
    assert [f"received {received}" in str(w.message) for w in caught] == [True]


def test_a_rate_below_the_random_numbers_resolution_warns():
    """Below it r < frac|g_s|·2^16 holds for r = 0 alone, whatever the gradient: one update in 65,536."""
    for rate, random_width in ((2.0**-17, 16), (2.0**-9, 8)):
        with pytest.warns(UserWarning, match=f"no weight moves .* 2\\^-{random_width}.* received {rate}"):
            IntegerSGD(rate, 8, random_width=random_width)
    variable = kernel(np.zeros(4000))
    optimizer = IntegerSGD(2.0**-16, 8, seed=1, random_width=16)
    optimizer.build([variable])
    optimizer.apply([np.full(4000, 1.4, np.float32)], [variable])
    assert np.count_nonzero(variable.numpy()) <= 1


def test_float_gradients_are_plain_sgd_with_the_clip():
    variable = kernel([0.4, 0.0], "2-8-f-f", ClipToGrid(2))
    optimizer = IntegerSGD(0.01, None, seed=1)
    optimizer.build([variable])
    optimizer.apply([np.array([-50.0, 3.0], np.float32)], [variable])
    assert_same_bits(variable.numpy(), np.array([0.5, -np.float32(0.01) * np.float32(3.0)], np.float32))


def test_mapping_of_bits():
    first, second = kernel(np.zeros(40), "2-8-4-8", name="first"), kernel(np.zeros(40), "2-8-f-8", name="second")
    g = NUMBERS.standard_normal(40).astype(np.float32)
    optimizer = IntegerSGD(1.0, {first.path: 4, second.path: None}, seed=3)
    optimizer.build([first, second])
    optimizer.apply([g, g], [first, second])
    assert_equal(first, -oracle.quantize_gradient(g, 4, 1.0, oracle.variable_seed(3, 0, 0)))
    assert_same_bits(second.numpy(), -g)


def test_mapping_without_a_kernel_is_refused():
    variable = kernel([0.0], name="lonely")
    optimizer = IntegerSGD(1.0, {"other/kernel": 8}, seed=3)
    with pytest.raises(ValueError, match=r"no width for the kernel '.*lonely'; received \['other/kernel'\]"):
        optimizer.build([variable])


@pytest.mark.parametrize(("key", "name"), [("sequential_4/first", "first"), ("first", "first")])
def test_mapping_finds_a_kernel_whose_model_has_lost_its_name(key, name):
    optimizer = IntegerSGD(1.0, {key: 4, "other/second": 8, "notfirst": 2}, seed=3)
    optimizer.build([kernel([0.0], "2-8-4-8", name=name)])
    assert optimizer.bits == {"first": 4}


def test_mapping_that_has_two_widths_for_a_kernel_is_refused():
    with pytest.raises(ValueError, match="no width for the kernel 'first'"):
        IntegerSGD(1.0, {"a/first": 4, "b/first": 8}, seed=3).build([kernel([0.0], name="first")])


def layers_of_two_widths():
    first, second = QDense(16, bits="2-8-4-8"), QDense(4, bits="2-8-12-8")
    model = keras.Sequential([keras.Input((12,)), first, QActivation("2-8-4-8"), second, QError("2-8-8-8")])
    model.compile(IntegerSGD(8.0, gradient_bits(model), seed=2), SumSquaredError())
    return model


@pytest.mark.parametrize("trained", [0, 2])
def test_a_sequential_of_two_gradient_widths_is_saved_and_goes_on(trained, tmp_path):
    keras.utils.set_random_seed(5)
    model = layers_of_two_widths()
    train(model, trained)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for found, expected in zip(train(loaded), train(model), strict=True):
        assert_same_bits(found, expected)


def test_a_kernel_that_it_was_not_built_with_is_refused():
    """And not given to Adam, which would take it off its grid."""
    known, unknown = kernel([0.0], name="known"), kernel([0.0], name="unknown")
    optimizer = IntegerSGD(1.0, 8, seed=3)
    optimizer.build([known])
    g = np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"built without the quantized kernel 'unknown'.*: compile the model again"):
        optimizer.apply([g, g], [known, unknown])
    assert known.numpy() == 0


def test_mapping_ignores_other_variables():
    bias = keras.Variable(np.zeros(2, np.float32), name="bias")
    optimizer = IntegerSGD(1.0, {"other/kernel": 8}, seed=3)
    optimizer.build([bias])
    optimizer.apply([np.array([1.0, 2.5], np.float32)], [bias])
    assert np.all(bias.numpy() < 0)


@pytest.mark.parametrize(("bits", "pattern"), [(8, "2-8-4-8"), (None, "2-8-8-8"), (8, "2-8-f-f")])
def test_a_width_that_differs_from_the_layers_warns(bits, pattern):
    with pytest.warns(UserWarning, match=f"its layer says {pattern}"):
        IntegerSGD(1.0, bits).build([kernel([0.0], pattern)])


def test_a_width_that_is_the_layers_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IntegerSGD(1.0, 8).build([kernel([0.0])])
        IntegerSGD(0.1, "f").build([kernel([0.0], "2-8-f-f")])


def test_gradient_bits_of_a_model_without_weights():
    with pytest.raises(ValueError, match=r"model: has to be built, .* received 'unbuilt'"):
        gradient_bits(keras.Sequential([QDense(4)], name="unbuilt"))


def test_gradient_bits_of_a_model():
    assert gradient_bits(network("2-8-8-8")) == 8
    assert gradient_bits(network("2-8-12-8")) == 12
    assert gradient_bits(network("2-8-f-f")) is None
    mixed = keras.Sequential([keras.Input((4,)), QDense(4, bits="2-8-4-8"), QDense(4, bits="2-8-f-8")])
    assert gradient_bits(mixed) == {mixed.layers[0].kernel.path: 4, mixed.layers[1].kernel.path: None}


@pytest.mark.parametrize(
    ("bits", "expected"), [(8, 8), ("2-8-4-8", 4), ("f", None), (None, None), ({"a": "f"}, {"a": None})]
)
def test_bits_argument(bits, expected):
    assert IntegerSGD(1.0, bits).bits == expected


@pytest.mark.parametrize("bits", [1, 17, "2-8", "x", 8.0, {"a": 1}])
def test_wrong_bits_are_refused(bits):
    with pytest.raises(ValueError, match="bits: a pattern is four widths"):
        IntegerSGD(1.0, bits)


@pytest.mark.parametrize("random_width", [0, 25, -1, 2.5, True])
def test_wrong_random_width_is_refused(random_width):
    with pytest.raises(ValueError, match="random integers have 1 to 24 bits"):
        IntegerSGD(1.0, 8, random_width=random_width)


def test_config_round_trip_keeps_the_run():
    """And another seed is another run."""
    optimizer, other = (IntegerSGD(1.0, 8, seed=seed, random_width=12) for seed in (21, 22))
    copy = IntegerSGD.from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()
    runs = [train(compiled(each)) for each in (optimizer, copy, other)]
    for a, b in zip(runs[0], runs[1], strict=True):
        assert_same_bits(a, b)
    assert any(np.any(a != b) for a, b in zip(runs[0], runs[2], strict=True))


def test_a_drawn_seed_is_in_the_config():
    optimizer = IntegerSGD(8.0, 8)
    assert isinstance(optimizer.get_config()["seed"], int)
    assert IntegerSGD.from_config(optimizer.get_config()).seed == optimizer.seed
    assert IntegerSGD(8.0, 8).seed != optimizer.seed
    keras.utils.set_random_seed(1)
    first = IntegerSGD(8.0, 8).seed
    keras.utils.set_random_seed(1)
    assert IntegerSGD(8.0, 8).seed == first


def test_no_state_but_the_step_count():
    model = compiled(IntegerSGD(8.0, 8, seed=1))
    train(model, 2)
    assert {v.name for v in model.optimizer.variables} == {"iteration", "learning_rate"}
    assert int(model.optimizer.iterations) == 2


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [False, True])
def test_resumed_training_equals_the_uninterrupted(schedule, tmp_path):
    def rate():
        return keras.optimizers.schedules.PiecewiseConstantDecay([3], [8.0, 1.0]) if schedule else 8.0

    through = train(compiled(IntegerSGD(rate(), 8, seed=9)), 5)
    halfway = compiled(IntegerSGD(rate(), 8, seed=9))
    train(halfway, 2)
    halfway.save(tmp_path / "halfway.keras")
    resumed = keras.saving.load_model(tmp_path / "halfway.keras")
    assert int(resumed.optimizer.iterations) == 2
    for a, b in zip(train(resumed, 3), through, strict=True):
        assert_same_bits(a, b)
    restarted = compiled(IntegerSGD(rate(), 8, seed=9))
    restarted.set_weights(halfway.get_weights())
    assert any(np.any(a != b) for a, b in zip(train(restarted, 3), through, strict=True))


def test_zero_and_missing_gradients_move_nothing():
    variables = [kernel([0.25, -0.5]) for _ in range(3)]
    optimizer = IntegerSGD(8.0, 8, seed=1)
    optimizer.build(variables)
    with pytest.warns(UserWarning, match="[Gg]radients? do(es)? not exist"):
        optimizer.apply([np.zeros(2, np.float32), None, np.ones(2, np.float32)], variables)
    for variable in variables[:2]:
        assert_equal(variable, [0.25, -0.5])
    assert np.all(variables[2].numpy() != [0.25, -0.5])


@pytest.mark.parametrize("options", [{"weight_decay": 0.01}, {"use_ema": True}])
def test_what_leaves_the_grid_is_refused(options):
    with pytest.raises(ValueError, match="off the update's grid; received weight_decay"):
        train(compiled(IntegerSGD(8.0, 8, seed=1, **options)), 1)
    train(compiled(IntegerSGD(0.01, "f", seed=1, **options), "f-f-f-f"), 1)


@pytest.mark.parametrize("seed", ["a", 1.5, True])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed: an integer"):
        IntegerSGD(1.0, 8, seed=seed)


def test_nan_gradients_stay_visible():
    variable = kernel([0.25, -0.5], constraint=ClipToGrid(2))
    optimizer = IntegerSGD(8.0, 8, seed=1)
    optimizer.build([variable])
    optimizer.apply([np.array([np.nan, 1.0], np.float32)], [variable])
    assert np.all(np.isnan(variable.numpy()))
