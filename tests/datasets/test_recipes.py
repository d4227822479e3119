"""The paper's hyperparameters, and η schedules written and read."""

from __future__ import annotations

import pytest

from wage_tf import datasets, losses, recipes
from wage_tf.datasets import Augmentation
from wage_tf.losses import SumSquaredError
from wage_tf.schedules import to_text


@pytest.mark.parametrize(
    ("dataset", "model", "batch", "epochs", "schedule", "augmentation"),
    [
        ("mnist", "lenet5", 128, 100, "1@0", None),
        ("svhn_cropped", "vgg7", 128, 40, "8@0", Augmentation(pad=4, flip=False)),
        ("cifar10", "vgg7", 128, 300, "8@0,1@200,0.125@250", Augmentation(pad=4, flip=True)),
        ("imagenet2012", "alexnet", 256, 80, "32@0,4@40,0.5@60", Augmentation(crop=224, flip=True)),
    ],
)
def test_the_papers_recipes(dataset, model, batch, epochs, schedule, augmentation):
    recipe = recipes.get(dataset)
    assert recipe.augmentation == augmentation
    loss = losses.NAMED[recipe.loss]()
    assert isinstance(loss, SumSquaredError) == (dataset != "imagenet2012")
    assert loss.reduction == "sum"
    assert (recipe.model, recipe.batch_size, recipe.epochs) == (model, batch, epochs)
    assert to_text(recipe.schedule) == schedule


def test_every_data_set_has_a_recipe():
    own_images = recipes.get("my/images", (32, 32, 3))
    assert own_images.model == "vgg7"
    assert recipes.get("my/images", (256, 320, 3)).model == "alexnet"
    for name in datasets.names():
        assert recipes.get(name) is not own_images


@pytest.mark.parametrize(("bits", "eta"), [("2-8-2-8", 0.125), ("f-8-4-8", 0.5), ("8-8-8-8", 8.0), ("2-f-12-f", 128.0)])
def test_eta_goes_with_the_gradients_width(bits, eta):
    assert recipes.get("cifar10").schedule_for(bits)[0] == (0, eta)


@pytest.mark.parametrize(("bits", "first"), [("f-f-f-f", 2**-11), ("2-8-f-f", 2**-5)])
def test_plain_sgd_keeps_the_schedules_ratios(bits, first):
    rates = [rate for _, rate in recipes.get("cifar10").schedule_for(bits)]
    assert [first / rate for rate in rates] == [1, 8, 64]


def test_where_layers_differ_the_first_decides():
    mapping = {"conv1": "2-8-6-8", "*": "2-8-8-8"}
    assert recipes.get("cifar10").schedule_for(mapping)[0] == (0, 2.0)
