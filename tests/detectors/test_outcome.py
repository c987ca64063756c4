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


def test_final_after_red_test(watch):
    red = [PYTEST[0], ("ok", "=== 1 failed, 3 passed in 0.1s ===")]
    (signal,) = [s for s in watch(*EDIT, *red, ("says", "Handing in.")) if s.detector == "final_after_red_test"]
    assert signal.start_seq == 3
    assert "final_after_red_test" not in [s.detector for s in watch(*red, *EDIT, *PYTEST, ("says", "Handing in."))]
    cut = ("end", {"end_reason": "limit_cost"})
    assert "final_after_red_test" not in [s.detector for s in watch(*red, cut)]


def test_hedged_fix(fired):
    hedge = ("says", "This should fix the crash, but I was not able to run it.")
    assert "hedged_fix" in fired(*PYTEST, *EDIT, hedge)
    assert "hedged_fix" not in fired(*EDIT, *PYTEST, hedge)


def test_incomplete_fix(fired):
    stub = ("call", "edit", {"path": "a.py", "old": "x = 1", "new": "def f():\n    # TODO: handle zero\n    pass"})
    assert "incomplete_fix" in fired(stub, ("ok", "edited"), CLAIM)
    kept = ("call", "edit", {"path": "a.py", "old": "# TODO: x", "new": "# TODO: x\ny = 2"})
    assert "incomplete_fix" not in fired(kept, ("ok", "edited"), CLAIM)


def test_claimed_action_not_called(fired):
    look = [("call", "get_order", {"id": 1}), ("ok", "order 1")]
    claim = ("says", "I've cancelled your order.")
    assert "claimed_action_not_called" in fired(("user", "cancel it"), *look, claim)
    cancel = [("call", "cancel_order", {"id": 1}), ("ok", "{}")]
    assert "claimed_action_not_called" not in fired(("user", "cancel it"), *look, *cancel, claim)
    assert "claimed_action_not_called" in fired(("user", "cancel it"), cancel[0], ("fails", "Error: shipped"), claim)


def test_what_tools_refuse(fired):
    call = ("call", "book_flight", {"to": "Rome"})
    for text, detector in {
        "Invalid tool book_flight provided.": "invalid_tool_call",
        "1 validation error for Passenger: dob Field required": "invalid_tool_call",
        "Error: the file has not been read yet. Read it first before writing to it.": "order_violation",
        "The user doesn't want to proceed with this tool use.": "denied_permission",
    }.items():
        assert detector in fired(call, ("fails", text)), text
    assert not {"invalid_tool_call", "order_violation"} & set(fired(call, ("fails", "Error: no seats left")))


def test_unreadable_arguments_count_only_where_they_failed(fired):
    from primitives.detectors import Event, Scan

    def run(status: str) -> list[str]:
        scan = Scan()
        call = Event(0, "call", name="get", text="unexpected end of data", args_text='{"a', key="k")
        result = Event(1, "result", name="get", args_text='{"a', status=status, text="Error: bad", key="k")
        return [s.detector for e in (call, result) for s in scan.step(e)]

    assert run("error") == ["invalid_tool_call"] and run("ok") == []
