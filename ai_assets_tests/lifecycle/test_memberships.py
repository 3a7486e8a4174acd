"""Sets of categories lie in few chains, and a rank in its chain tells whether a set holds one."""

import random

import pytest

from ai_assets.lifecycle.learners.memberships import Chain, chained


def some_sets(bits: int, count: int) -> set[int]:
    luck = random.Random(bits)
    return {luck.getrandbits(bits) & luck.getrandbits(bits) for _ in range(count)} - {0}


@pytest.mark.parametrize("bits", [3, 63, 64, 65, 200])
def test_each_set_is_in_one_chain_and_ranks_answer_for_it(bits: int) -> None:
    sets = some_sets(bits, 150)

    chains = chained(7, sets)

    told = [members for chain in chains for members in chain.inner + chain.outer]
    assert sorted(told) == sorted(sets)
    for chain in chains:
        ranks = chain.ranks(bits)
        for (feature, members), asked in chain.questions(column=0).items():
            assert feature == 7
            for category in range(bits):
                says_yes = bool(ranks[category] <= asked.threshold)
                assert (says_yes != asked.opposite) == bool(members >> category & 1)


def test_sets_in_one_another_and_those_apart_from_them_share_a_chain() -> None:
    nested, apart = [0b1, 0b11, 0b111], [0b1000000, 0b1100000]

    assert chained(0, {*nested, *apart}) == [Chain(0, nested, apart)]


def test_a_set_goes_where_the_chain_grows_least() -> None:
    crossing = {0b1, 0b11, 0b110}

    chains = chained(0, crossing | {0b10111, 0b11111})

    assert chains == [Chain(0, [0b1, 0b11, 0b10111, 0b11111], []), Chain(0, [0b110], [])]


def test_no_sets_need_no_chain() -> None:
    assert chained(0, set()) == []
