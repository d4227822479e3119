"""Every deployed form of a model beside the integer engine."""

import numpy as np

from benchmarks.deployed_equality import c_scores, litert_scores
from wage_tf import integer
from wage_tf.export import export_model, read_packed


def assert_equal_in_every_form(folder, model, images):
    """LiteRT, packed and C, compiled with sanitizers, give the engine's scores, which are not all one number."""
    expected = integer.infer(integer.freeze(model), images)
    assert np.ptp(expected) > 0
    paths = {to: export_model(model, folder / to, to).path for to in ("litert", "packed", "c")}
    assert np.array_equal(litert_scores(paths["litert"], images), expected)
    assert np.array_equal(integer.infer(read_packed(paths["packed"])[0], images), expected)
    assert np.array_equal(c_scores(paths["c"], images, expected.shape[1]), expected)
