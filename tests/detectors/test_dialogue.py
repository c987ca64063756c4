from __future__ import annotations

import pytest

ORDER = ("user", "Please cancel my order W77, it came too late.")
ASK = ("says", "I can cancel it. Shall I go ahead?")
CANCEL = [("call", "cancel_order", {"id": "W77"}), ("ok", "{}")]


def test_write_without_confirmation(watch):
    (signal,) = [
        s
        for s in watch(ORDER, ASK, ("user", "What would it cost?"), *CANCEL)
        if s.detector == "write_without_confirmation"
    ]
    assert (signal.seq, signal.start_seq) == (3, 2)
    for run in ([ORDER, ASK, ("user", "Yes, please."), *CANCEL], [ORDER, *CANCEL]):
        assert "write_without_confirmation" not in [s.detector for s in watch(*run)]


@pytest.mark.parametrize(
    "words, fires",
    [
        ("That's not what I asked for.", True),
        ("You didn't run the tests.", True),
        ("No, that's wrong, put it back.", True),
        ("I already told you: the blue one.", True),
        ("undo that", True),
        ("It still doesn't work.", True),
        ("No, that's all. Thanks for your help!", False),
        ("If it still fails, let me know.", False),
        ("No, I don't want to be transferred.", False),
        ("Yes, go ahead.", False),
    ],
)
def test_user_correction(fired, words, fires):
    assert ("user_correction" in fired(ORDER, ("says", "Done, the order is cancelled."), ("user", words))) is fires


def test_the_first_message_corrects_nobody(fired):
    assert "user_correction" not in fired(("user", "You didn't send my parcel, that's wrong."), ASK)


def test_repeated_request(watch):
    again = ("user", "please cancel my order W77, it came too late")
    (signal,) = [s for s in watch(ORDER, ASK, again) if s.detector == "repeated_request"]
    assert (signal.start_seq, signal.seq) == (0, 2)
    assert "repeated_request" not in [
        s.detector for s in watch(ORDER, ASK, ("user", "Please book me a flight to Rome."))
    ]


def test_a_new_conversation_in_the_same_trace_repeats_nothing(fired):
    assert "repeated_request" not in fired(ORDER, ASK, ("reset",), ORDER, ASK)


def test_user_interrupt(fired):
    assert "user_interrupt" in fired(ORDER, ("interrupt", "[Request interrupted by user]"))


@pytest.mark.parametrize(
    "words, fires",
    [
        ("You haven't said which, so I'll assume economy.", True),
        ("Since you didn't specify a cabin, I've booked economy.", True),
        ("The rating is above 4 as you specified, I went ahead.", False),
    ],
)
def test_default_without_asking(fired, words, fires):
    run = [ORDER, ("says", words), ("call", "book_flight", {"cabin": "economy"}), ("ok", "{}"), ("says", "Booked.")]
    assert ("default_without_asking" in fired(*run)) is fires


def todo(*states: str) -> list[tuple]:
    items = [{"content": f"step {i}", "status": s} for i, s in enumerate(states)]
    return [("call", "TodoWrite", {"todos": items}), ("ok", "")]


def test_abandoned_subtask(watch):
    (signal,) = watch(*todo("pending", "pending"), *todo("completed", "in_progress"))
    assert (signal.detector, signal.n) == ("abandoned_subtask", 1) and "step 1" in signal.detail
    assert not watch(*todo("pending", "pending"), *todo("completed", "completed"))


def test_abandoned_subtask_of_single_tasks(fired):
    create = [("call", "TaskCreate", {"subject": "write tests"}), ("ok", "Task #1 created")]
    done = [("call", "TaskUpdate", {"taskId": "1", "status": "completed"}), ("ok", "")]
    assert "abandoned_subtask" in fired(*create)
    assert "abandoned_subtask" not in fired(*create, *done)
