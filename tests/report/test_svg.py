"""Drawing: round ticks that lie inside, text that cannot break out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.report.svg import Scale, drawing, element, label

numbers = st.floats(min_value=-1e4, max_value=1e4, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_a_scale_holds_its_values_and_its_ticks(values: list[float]) -> None:
    scale = Scale.fit(values, 10, 200)
    assert all(10 <= scale(value) <= 200 for value in values)
    assert all(10 - 1e-6 <= scale(tick) <= 200 + 1e-6 for tick in scale.ticks)
    assert 2 <= len(scale.ticks) <= 9


def test_ticks_are_round_and_written_with_the_digits_they_need() -> None:
    scale = Scale.fit([-1.2, 3.1], 0, 100)
    assert [scale.tick_text(tick) for tick in scale.ticks] == ["−1", "0", "1", "2", "3"]  # noqa: RUF001
    fine = Scale.fit([91.93, 92.31], 0, 100)
    assert [fine.tick_text(tick) for tick in fine.ticks] == ["92.0", "92.1", "92.2", "92.3"]


def test_foreign_text_is_escaped() -> None:
    assert str(label("<b>&", 0, 0)) == '<text x="0" y="0">&lt;b&gt;&amp;</text>'
    assert '"a&#34; onload=&#34;x"' in str(element("g", id='a" onload="x'))


def test_a_drawing_names_its_title_and_description() -> None:
    picture = str(drawing("figure", "A title", "The numbers.", 10, [], 20))
    assert 'aria-labelledby="figure-title figure-text"' in picture
    assert '<title id="figure-title">A title</title><desc id="figure-text">The numbers.</desc>' in picture


@pytest.mark.parametrize("value", [0.0, 50.0])
def test_equal_values_still_have_a_scale(value: float) -> None:
    scale = Scale.fit([value, value], 0, 100)
    assert scale(value) == pytest.approx(50)
