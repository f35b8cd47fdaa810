"""The state machine's table: what leads where, and what each state means for the object."""

from worker.domain import Access, State
from worker.store.transitions import ALLOWED, FINAL, access_of


def reachable(start: State) -> set[State]:
    seen, todo = {start}, [start]
    while todo:
        for to in ALLOWED[todo.pop()] - seen:
            seen.add(to)
            todo.append(to)
    return seen


def test_every_state_is_in_the_table_and_can_be_reached_from_pending() -> None:
    assert set(ALLOWED) == set(State)
    assert reachable(State.PENDING) == set(State)


def test_no_state_leads_to_itself() -> None:
    assert not [state for state in State if state in ALLOWED[state]]


def test_only_a_scan_or_a_persons_word_makes_an_upload_clear() -> None:
    assert {state for state in State if State.CLEAR in ALLOWED[state]} == {
        State.SCANNING,
        State.FLAGGED,
        # The undo of a decision that had withheld or removed what was clear.
        State.HELD,
        State.REMOVED,
    }


def test_what_was_not_read_comes_back_only_by_a_new_scan() -> None:
    assert ALLOWED[State.SUPERSEDED] == ALLOWED[State.GONE] == {State.PENDING}


def test_access_is_denied_while_undecided_and_after_removal_only() -> None:
    assert {state for state in FINAL if access_of(state) is not Access.SERVED} == {State.HELD, State.REMOVED}


def test_decided_states_lead_to_each_other() -> None:
    assert State.REMOVED in ALLOWED[State.RELEASED]
    assert State.RELEASED in ALLOWED[State.REMOVED]
