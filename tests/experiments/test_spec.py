import pytest

from experiments import spec
from wage_tf.cli import train
from wage_tf.errors import UserError

SMALLEST = """
title = "T"
reproduces = "R"
seeds = [0, 1]
seconds_per_epoch = 60
hardware = "H"
[settings]
epochs = 2
[variants.one]
[variants.two]
label = "Two"
settings = { epochs = 3, learning_rate = 8, random_width = 4, clip_outputs = false }
"""


def load(tmp_path, text):
    path = tmp_path / "it.toml"
    path.write_text(text)
    return spec.load(path)


def test_variants_share_settings(tmp_path):
    experiment = load(tmp_path, SMALLEST)
    one, two = experiment.variants
    assert (one.label, dict(one.settings)) == ("one", {"epochs": 2})
    assert (two.label, two.settings["learning_rate"], two.epochs) == ("Two", 8, 3)
    assert experiment.minutes == 2 * (2 + 3)


def test_a_run_is_a_command_of_train(tmp_path):
    experiment = load(tmp_path, SMALLEST)
    one, two = (spec.Run(experiment, variant, 1) for variant in experiment.variants)
    assert str(one) == "one-s1"
    assert one.arguments == ["--epochs", "2", "--seed", "1", "--histogram-freq", "0"]
    assert two.arguments[:7] == ["--epochs", "3", "--learning-rate", "8", "--random-width", "4", "--no-clip-outputs"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "T"', "", "title: Field required"),
        ('title = "T"', 'title = "T"\nepochs = 3', "epochs: Extra inputs are not permitted; received 3"),
        ("seeds = [0, 1]", "seeds = []", "seeds: Tuple should have at least 1 item"),
        ("seeds = [0, 1]", "seeds = [true]", "seeds.0: Input should be a valid integer; received True"),
        ("learning_rate", "learning_rates", "variants.two.settings: settings has no 'learning_rates'"),
        ("learning_rate", "seed", "variants.two.settings: settings has no 'seed'"),
        ("random_width", "randomness", "variants.two.settings: settings has no 'randomness'"),
        ("epochs = 2", "", "variants.one.settings: epochs is an integer of at least 1; received None"),
        ('label = "Two"', "labels = 1", "variants.two.labels: Extra inputs are not permitted; received 1"),
        (
            'hardware = "H"',
            'hardware = "H"\nfigure = "pie"',
            "figure: Input should be 'none', 'curves', 'sweep'",
        ),
        ('hardware = "H"', 'hardware = "H"\nfigure = "sweep"', "a sweep needs an axis, and an x in every variant"),
        ('title = "T"', "title = ", "Invalid value (at line 2"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, old, new, message):
    assert old in SMALLEST
    with pytest.raises(UserError) as caught:
        load(tmp_path, SMALLEST.replace(old, new))
    assert str(caught.value).startswith("it.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_published_figures_belong_to_variants(tmp_path):
    published = '[[published]]\nlabel = "P"\nsource = "S"\nerrors = { %s = 1.5 }\n'
    assert load(tmp_path, SMALLEST + published % "two").published == (
        spec.Published(label="P", source="S", errors={"two": 1.5}),
    )
    with pytest.raises(UserError, match="published P: there is no variant 'three'"):
        load(tmp_path, SMALLEST + published % "three")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"no experiment 'nothing': choose from .*mnist"):
        spec.load("nothing")
    with pytest.raises(UserError, match="mnist has no variant 'x': choose from authors, paper"):
        spec.load("mnist").variant("x")


@pytest.mark.parametrize("name", spec.names())
def test_every_experiment_is_a_command_that_its_program_understands(name):
    experiment = spec.load(name)
    for variant in experiment.variants:
        assert train.parser().parse_args(spec.Run(experiment, variant, 0).arguments).epochs == variant.epochs


@pytest.mark.parametrize("name", ["kg_mnist", "kg_cifar10"])
def test_eta_halves_with_every_bit_of_the_gradients(name):
    for variant in spec.load(name).variants:
        assert variant.settings["learning_rate"] == 8 * 2.0 ** (variant.x - 8)
        assert variant.settings["bits"] == f"2,8,{variant.x},8"
