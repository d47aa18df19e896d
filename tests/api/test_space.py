"""Spaces: defaults, conditions, stages, and what a space must not say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbench.api.space import Choice, Float, Int, Parameter, Space, active, check_space, defaults, narrowed
from mmbench.errors import PluginError

CONDITIONAL: Space = {
    "kind": Choice(("mean", "gru"), default="gru"),
    "layers": Int(1, 3, default=2, when={"kind": "gru"}),
    "dropout": Float(0.0, 0.5, default=0.1, when={"kind": "gru", "layers": 2}),
    "window": Int(2, 9, default=3, when={"kind": "mean"}),
    "size": Choice((32, 64), default=32, stage="prepare"),
}


def test_defaults_are_those_that_are_active() -> None:
    assert defaults(CONDITIONAL) == {"kind": "gru", "layers": 2, "dropout": 0.1, "size": 32}


def test_defaults_of_one_stage() -> None:
    assert defaults(CONDITIONAL, "prepare") == {"size": 32}
    assert defaults(CONDITIONAL, "build") == {"kind": "gru", "layers": 2, "dropout": 0.1}


def test_an_option_is_spelt_as_the_part_has_it() -> None:
    found = narrowed(Choice((32, 64, 128), default=32), (128.0, 64))
    assert isinstance(found, Choice)
    assert [(type(option), option) for option in found.options] == [(int, 128), (int, 64)]
    with pytest.raises(ValueError, match="can't be True: it is one of 0, 1"):
        narrowed(Choice((0, 1), default=0), True)
    with pytest.raises(ValueError, match=r"can't be 2\.0: it is a whole number from 1 to 3"):
        narrowed(Int(1, 3, default=1), 2.0)


def test_a_condition_on_what_is_itself_inactive_is_never_met() -> None:
    assert not active(CONDITIONAL["dropout"], {"kind": "mean"})
    assert active(CONDITIONAL["window"], {"kind": "mean"})


def test_counts_and_choices_change_the_shape_unless_said_otherwise_and_numbers_do_not() -> None:
    assert Int(1, 2, default=1).structural
    assert Choice(("a",), default="a").structural
    assert not Float(0.0, 1.0, default=0.5).structural


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (Int(3, 1, default=2), "low 3 above high 1"),
        (Int(1, 3, default=4), "default 4 lies outside"),
        (Int(0, 3, log=True, default=1), "low must be above 0"),
        (Float(0.0, math.inf, default=1.0), "not finite"),
        (Float(0.0, 1.0, default=math.nan), "not finite"),
        (Choice((), default=1), "no options"),
        (Choice(("a", "b"), default="c"), "default 'c' is not among"),
        (0.1, "must be an Int, Float or Choice"),
        (Int(1, 2, default=1, when={"later": 1}), "must stand before it"),
        (Int(1, 2, default=1, when={"first": 9}), "can't be"),
    ],
)
def test_a_senseless_parameter_is_named(parameter: Any, said: str) -> None:
    space = {"first": Int(1, 3, default=1), "x": parameter, "later": Int(1, 3, default=1)}
    with pytest.raises(PluginError, match=r"fusion Mine: space\['x'\]") as error:
        check_space(space, "fusion Mine")
    assert said in str(error.value)


def test_a_parameter_s_name_is_an_identifier() -> None:
    with pytest.raises(PluginError, match="'learning rate' can't be a parameter's name"):
        check_space({"learning rate": Int(1, 2, default=1)}, "fusion Mine")


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
parameters = st.one_of(
    st.builds(lambda a, b, c: Int(*sorted((a, c)), default=sorted((a, b, c))[1]), *[st.integers(-99, 99)] * 3),
    st.builds(lambda a, b, c: Int(min(a, b), max(a, b), default=c), *[st.integers(-99, 99)] * 3),
    st.builds(lambda a, b, c: Float(min(a, b), max(a, b), default=c), *[numbers] * 3),
    st.builds(lambda o, d: Choice(tuple(o), default=d), st.lists(st.integers(0, 5)), st.integers(0, 5)),
)


@given(parameters)
def test_what_has_no_problem_holds_its_default(parameter: Parameter) -> None:
    assert (parameter.problem() is None) <= parameter.holds(parameter.default)


@pytest.mark.parametrize("value", [True, "2", 1.5, 9, None])
def test_a_count_is_a_whole_number_in_range(value: object) -> None:
    assert not Int(1, 3, default=1).holds(value)
    assert Int(1, 3, default=1).holds(2)
    assert Float(1.0, 3.0, default=1.0).holds(2)
