from __future__ import annotations

EDIT = [("call", "edit", {"path": "a.py", "new": "x = 1"}), ("ok", "edited")]
PYTEST = [("call", "bash", {"command": "python -m pytest tests"}), ("ok", "3 passed")]
CLAIM = ("says", "I have fixed the bug in a.py and everything is now working.")


def test_success_against_verdict(watch):
    run = [
        ("user", "cancel it"),
        ("call", "cancel_order", {"id": 1}),
        ("ok", "{}"),
        ("says", "Your order has been cancelled."),
    ]
    (signal,) = [s for s in watch(*run, ("end", {"success": False})) if s.detector == "success_against_verdict"]
    assert signal.seq == 3 and signal.severity == "high" and "has been cancelled" in signal.detail
    for verdict in (True, None):
        assert "success_against_verdict" not in [s.detector for s in watch(*run, ("end", {"success": verdict}))]


def test_small_talk_after_the_claim_does_not_hide_it(fired):
    run = [("says", "Your order has been successfully cancelled."), ("user", "thanks"), ("says", "You're welcome!")]
    assert "success_against_verdict" in fired(*run, ("user", "bye"), ("end", {"success": False}))


def test_no_claim_no_signal(fired):
    run = [("says", "I am unable to cancel this order."), ("user", "ok")]
    assert "success_against_verdict" not in fired(*run, ("end", {"success": False}))


def test_the_text_of_a_finishing_call_is_the_answer(fired):
    finish = ("call", "finish", {"message": "I have fixed the issue in a.py and b.py"})
    run = [*PYTEST, *EDIT, ("says", "Handing in."), finish, ("ok", "")]
    assert {"success_against_verdict", "unverified_success"} <= set(fired(*run, ("end", {"success": False})))


def test_unverified_success_ends_with_a_run_after_the_edit(fired):
    assert "unverified_success" in fired(*PYTEST, *EDIT, CLAIM)
    assert "unverified_success" not in fired(*EDIT, *PYTEST, CLAIM)
    assert "unverified_success" not in fired(CLAIM)
    assert "unverified_success" not in fired(*EDIT, CLAIM)  # it has nothing to run


def test_budget_exhausted(fired):
    assert "budget_exhausted" in fired(CLAIM, ("end", {"end_reason": "limit_cost"}))
    assert "budget_exhausted" not in fired(CLAIM, ("end", {"end_reason": "completed"}))


def test_ignored_error(watch):
    failure = [("call", "send_certificate", {"sum": 100}), ("fails", "Error: user not found")]
    (signal,) = [
        s
        for s in watch(*failure, ("says", "Everything has been taken care of, enjoy your day."))
        if s.detector == "ignored_error"
    ]
    assert signal.severity == "high" and signal.start_seq == 1
    mended = [("call", "send_certificate", {"sum": 100, "user": 3}), ("ok", "sent")]
    for run in (
        [*failure, *mended, ("says", "Everything has been taken care of, enjoy your day.")],
        [*failure, ("says", "Sorry, sending the certificate has failed for now.")],
    ):
        assert "ignored_error" not in [s.detector for s in watch(*run)]
