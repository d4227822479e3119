"""The learning rate that a schedule gives to Keras."""

from __future__ import annotations

from wage_tf import schedules
from wage_tf.runs.training import learning_rate


def test_the_schedule_changes_with_the_first_step_of_its_epoch():
    rate = learning_rate(schedules.parse("8@0,1@2,0.125@3"), steps_per_epoch=10)
    assert [float(rate(step)) for step in (0, 19, 20, 29, 30, 99)] == [8, 8, 1, 1, 0.125, 0.125]


def test_one_rate_is_a_number():
    assert learning_rate(((0, 8.0),), 10) == 8.0
