"""The tests of all pairs: Holm's adjustment as published, ranks that share what can't be told apart."""

import pytest

from mmbench.board.stats.family import Family, holm


def test_holm_as_published() -> None:
    """The example of the article "Holm-Bonferroni method": of 4 hypotheses the 4th and the 1st are rejected."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_those_that_cannot_be_told_from_the_best_of_a_group_share_its_rank() -> None:
    score = {"a": 9.0, "b": 8.5, "c": 6.0, "d": 5.5, "e": 1.0}

    def p_value(first: str, second: str) -> float:
        return 0.001 if abs(score[first] - score[second]) > 1 else 0.5

    assert Family(list(score), p_value).ranks() == {"a": 1, "b": 1, "c": 3, "d": 3, "e": 5}
    assert Family([], p_value).ranks() == {}


def test_many_comparisons_need_stronger_evidence() -> None:
    def p_value(first: str, second: str) -> float:
        return 0.02

    assert Family(["a", "b"], p_value).ranks() == {"a": 1, "b": 2}
    assert set(Family(["a", "b", "c", "d"], p_value).ranks().values()) == {1}


def test_one_that_scores_less_never_ranks_higher() -> None:
    """ "c" scatters so much that nothing can be told from it, not even the best; it still stands after "b"."""

    def p_value(first: str, second: str) -> float:
        return 0.5 if "c" in (first, second) else 0.001

    assert Family(["a", "b", "c"], p_value).ranks() == {"a": 1, "b": 2, "c": 2}


def test_very_many_contenders_are_ranked_without_testing_every_pair() -> None:
    asked = []

    def p_value(first: str, second: str) -> float:
        asked.append((first, second))
        return 1e-9 if int(second) - int(first) >= 20 else 0.5

    names = [str(number) for number in range(200)]
    ranks = Family(names, p_value).ranks()
    assert ranks == {name: 1 + 20 * (int(name) // 20) for name in names}
    assert len(asked) < 200
    few = names[:50]
    assert Family(few, p_value).ranks() == {name: ranks[name] for name in few}


def test_a_pair_has_one_p_whichever_way_it_is_asked_for() -> None:
    p_values = {("a", "b"): 0.001, ("a", "c"): 0.02, ("b", "c"): 0.9}
    family = Family(["a", "b", "c"], lambda first, second: p_values[first, second])
    assert family.correction == "Holm, 3 pairs"
    assert family.p("a", "b") == family.p("b", "a") == pytest.approx(0.003)
    assert family.p("c", "a") == pytest.approx(0.04)
    assert family.p("c", "b") == 0.9
    names = [str(number) for number in range(60)]
    assert Family(names, lambda first, second: 1e-5).p("3", "1") == pytest.approx(1e-5 * 60 * 59 / 2)
    assert Family(names, lambda first, second: 1e-5).correction == "Bonferroni, 1770 pairs"
    assert Family(["a", "b"], lambda first, second: 0.2).correction == "Holm, 1 pair"
