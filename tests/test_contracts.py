import pytest

from support import contracts

BY_CLASS = sorted({type(case.make()) for case in contracts.CASES}, key=lambda cls: cls.__name__)
each_case = pytest.mark.parametrize("case", contracts.CASES, ids=lambda case: case.name)
each_layer = pytest.mark.parametrize("case", contracts.LAYERS, ids=lambda case: case.name)
each_class = pytest.mark.parametrize("cls", BY_CLASS, ids=lambda cls: cls.__name__)
each_style = pytest.mark.parametrize("style", list(contracts.STYLES))


def test_the_list_is_complete():
    assert contracts.public_classes() == set(BY_CLASS)
    assert contracts.registered_classes() == set(BY_CLASS)
    assert len(BY_CLASS) >= 10


@each_class
def test_documentation(cls):
    contracts.check_documentation(cls)


@each_class
def test_registered(cls):
    contracts.check_registered(cls)


@each_case
def test_config_round_trip(case):
    contracts.check_config_round_trip(case)


@each_case
def test_serialization(case):
    contracts.check_serialization(case)


@each_style
@each_layer
def test_save_and_load(case, style, tmp_path):
    contracts.check_save_and_load(case, style, tmp_path / "model.keras")


@each_layer
def test_styles_agree(case):
    contracts.check_styles_agree(case)


@each_layer
def test_modes_agree(case):
    contracts.check_modes_agree(case)


@each_layer
def test_shape_inference(case):
    contracts.check_shape_inference(case)


@pytest.mark.slow
@each_layer
def test_fit(case):
    contracts.check_fit(case)
