"""Run it with `pytest`. Numbers worked out by hand keep the formula what it is."""

import pytest
from template_scheduler import TemplateScheduler

import foil


def test_equals_the_formula_on_the_way_up_and_down() -> None:
    scheduler = TemplateScheduler(peak=2.0, warm=2.0)
    # Step 5 of 10 in epoch 1: three quarters of the way up from 0.2.
    assert scheduler.value(foil.Progress(epoch=1, step=5, epochs=10, steps_per_epoch=10)) == pytest.approx(1.55)
    # Half of the way down.
    assert scheduler.value(foil.Progress(epoch=6, step=0, epochs=10, steps_per_epoch=10)) == pytest.approx(1.0)
