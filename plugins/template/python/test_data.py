"""Run it with `pytest`."""

from template_data import TemplateData


def test_the_bar_is_where_its_class_says() -> None:
    (x, y), (test, _) = TemplateData(per_class=5).load()
    # Image 13 is of class 3: rows 10 and 11, columns 7 to 22, brightness 120 + 403 % 130.
    bright = (x[13, 0] == 133).nonzero()
    assert (len(x), len(test), int(y[13])) == (50, 10, 3)
    assert (len(bright), bright[0].tolist(), bright[-1].tolist()) == (32, [10, 7], [11, 22])
