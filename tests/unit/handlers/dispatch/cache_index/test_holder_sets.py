"""Sets of holders are kept once, reached by steps, and forgotten when no block has them."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.cache_index.holder_sets import NOBODY, Holders, HolderSets

A, B, GPU, CPU = 0b01, 0b10, 0, 1


def test_the_same_holders_have_the_same_number_however_they_came():
    sets = HolderSets(10)
    only_a, only_b = sets.storing(A, GPU)[NOBODY], sets.storing(B, GPU)[NOBODY]

    assert sets.storing(B, GPU)[only_a] == sets.storing(A, GPU)[only_b]
    assert sets.by_number[sets.storing(B, CPU)[only_a]] == Holders(gpu=A, cpu=B)


def test_a_step_back_leads_to_where_one_was_and_at_last_to_nobody():
    sets = HolderSets(10)
    only_a = sets.storing(A, GPU)[NOBODY]
    both = sets.storing(B, GPU)[only_a]

    assert sets.removing(B, GPU)[both] == only_a
    assert sets.removing(A, GPU)[only_a] == NOBODY
    assert sets.removing(A, CPU)[both] == both


def test_where_no_number_is_left_a_new_holder_is_not_noted_and_a_removal_leaves_nobody():
    sets = HolderSets(3)  # nobody, a, a and b
    only_a = sets.storing(A, GPU)[NOBODY]
    both = sets.storing(B, GPU)[only_a]

    assert sets.storing(B, CPU)[only_a] == only_a
    assert sets.removing(A, GPU)[both] == NOBODY
    assert sets.storing(B, GPU)[NOBODY] == NOBODY


def test_a_census_forgets_what_no_block_has_and_gives_its_number_to_others():
    sets = HolderSets(3)
    only_a = sets.storing(A, GPU)[NOBODY]
    both = sets.storing(B, GPU)[only_a]
    step = sets.begin_census(banned=0)
    assert step[both] == both
    sets.end_census()

    assert len(sets) == 2
    assert sets.storing(B, GPU)[NOBODY] == only_a
    assert sets.by_number[both] == Holders(gpu=A | B)


def test_banned_holders_leave_every_set_that_is_reached_during_a_census():
    sets = HolderSets(10)
    only_a = sets.storing(A, GPU)[NOBODY]
    both = sets.storing(B, GPU)[only_a]
    step = sets.begin_census(banned=A)

    assert step[only_a] == NOBODY
    assert sets.by_number[step[both]] == sets.by_number[sets.storing(B, GPU)[only_a]] == Holders(gpu=B)


def test_a_census_is_due_when_many_sets_came_since_the_last():
    sets = HolderSets(100_000)
    step, number = sets.storing(A, GPU), NOBODY
    for pod in range(1, 1100):
        number = sets.storing(1 << pod, GPU)[number]
    assert sets.is_census_due()
    assert step[number] != number

    alive = sets.begin_census(banned=0)
    assert alive[number] == number
    sets.end_census()
    assert not sets.is_census_due()
