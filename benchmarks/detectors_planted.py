"""Detectors that fire too seldom on the corpora to be read there, measured on runs written for the purpose.

    python benchmarks/detectors_planted.py

Each run below has the fault in the words of some real tool or agent, or comes close to it without having it. What is
counted: faults found, and near misses that were taken for one. The runs and the detectors have one author, so the figures
say what the detectors see and do not see, and not how often they would be right in the field.
"""

from __future__ import annotations

import json
from typing import Any

from primitives.detectors import Event, Scan

Line = tuple[Any, ...]
LOOK: Line = ("call", "search_orders", {"customer": "ann"})
EDIT: Line = ("call", "str_replace", {"path": "a.py", "old_str": "x = 1", "new_str": "x = 2"})
RAN: list[Line] = [("call", "bash", {"command": "pytest tests/test_a.py"}), ("ok", "3 passed in 0.2s")]
PAGE = "row of the log " * 40


def denied(text: str, status: str = "fails") -> list[Line]:
    return [
        ("user", "Clean up."),
        ("call", "bash", {"command": "rm -r build"}),
        (status, text),
        ("says", "I left the folder as it is."),
    ]


def refused(text: str, tool: str = "write_file") -> list[Line]:
    return [
        ("user", "Go on."),
        ("call", tool, {"path": "a.py"}),
        ("fails", text),
        ("says", "I need another step before this."),
    ]


def found_nothing(result: str, answer: str, tool: str = "search_orders") -> list[Line]:
    return [("user", "Where is my order?"), ("call", tool, {"customer": "ann"}), ("ok", result), ("says", answer)]


def cut_short(mark: str, *after: Line) -> list[Line]:
    return [("user", "Read the log."), ("call", "read_log", {"day": 3}), ("ok", PAGE + mark), *after]


def edited(answer: str, *between: Line) -> list[Line]:
    return [("user", "Fix it."), *RAN, EDIT, ("ok", "edited"), *between, ("says", answer)]


def placeholder(new: str, answer: str, old: str = "x = 1") -> list[Line]:
    call = ("call", "str_replace", {"path": "a.py", "old_str": old, "new_str": new})
    return [("user", "Fix it."), call, ("ok", "edited"), ("says", answer)]


DONE = "I have fixed the parser and it works as expected now."
LATE = "The order left the warehouse on Monday and should arrive at your address within two days."
# detector -> (runs that have the fault, runs that come close)
CASES: dict[str, tuple[list[list[Line]], list[list[Line]]]] = {
    "denied_permission": (
        [
            denied("The user doesn't want to proceed with this tool use. The tool use was rejected."),
            denied("The user doesn't want to take this action right now."),
            denied("Command rejected by the user"),
            denied("Request cancelled by user"),
            denied("Claude requested permissions to use Bash, but you haven't granted it yet."),
            denied("Permission to use Bash with command rm has been denied."),
            denied("approval denied: patch not applied"),
            denied("user declined the command", "denied"),
            denied("exec command rejected by user"),
            denied("The user chose not to run this command", "denied"),
            denied("Tool call was not approved"),
            denied("This command requires approval"),
        ],
        [
            denied("rm: cannot remove 'build': No such file or directory"),
            denied("ssh: connect to host db port 22: Connection refused"),
            denied("The payment was declined because the card has expired."),
            denied("HTTP 404: user not found"),
            denied("the build folder is gone", "ok"),
            denied("The request was rejected: amount must be positive"),
        ],
    ),
    "order_violation": (
        [
            refused("File has not been read yet. Read it first before writing to it."),
            refused("<error>You must call authenticate first</error>", "get_orders"),
            refused("Not logged in. Use login before any other call.", "get_orders"),
            refused("No file open. Use the open command first.", "scroll_up"),
            refused("Error: customer must be verified before you can change the address", "update_address"),
            refused("No page is open", "click"),
            refused("Please log in first", "get_orders"),
            refused("session has not been started yet", "send_message"),
            refused("no database connection is currently open", "run_query"),
            refused("You need to select a project first", "create_issue"),
            refused("Precondition failed: cart is empty, add an item beforehand", "checkout"),
        ],
        [
            refused("Error: order not found", "get_orders"),
            refused("The first name is missing", "update_address"),
            refused("amount must be positive", "refund"),
            refused("Departure must be on or before 2024-05-20", "book"),
            refused("Timeout: no answer within 30 s", "get_orders"),
            refused("Refunds are possible until a day before departure", "refund"),
        ],
    ),
    "empty_result_ignored": (
        [
            found_nothing("[]", LATE),
            found_nothing("", LATE),
            found_nothing("{}", LATE, "get_order"),
            found_nothing("null", LATE, "lookup_order"),
            found_nothing("No results found.", LATE),
            found_nothing("No matches found", LATE, "find_order"),
            found_nothing("[]", "Your parcel is with the carrier and its status is: out for delivery today."),
            found_nothing('{"results": []}', LATE),
            found_nothing('{"orders": [], "total": 0}', LATE, "list_orders"),
        ],
        [
            found_nothing("[]", "I found no order under that name. Which address did you use for it?"),
            found_nothing("[]", "There is nothing on file for ann, so I cannot tell where it is."),
            found_nothing("", "Could you tell me the number of the order, so that I can look again?"),
            found_nothing("[]", "Unfortunately the search came back empty."),
            found_nothing('["o1"]', LATE),
            found_nothing("{}", "Done, thank you.", "update_order"),
        ],
    ),
    "truncated_output_used": (
        [
            cut_short("[output truncated]", ("says", "The log holds three failures.")),
            cut_short("... 12,000 characters omitted", ("says", "The log holds three failures.")),
            cut_short("<response clipped><NOTE>to save context only part of this file is shown", ("says", "All is well.")),
            cut_short("(truncated)", ("call", "update_order", {"id": 1}), ("ok", "done"), ("says", "Updated.")),
            cut_short("300 lines elided", ("says", "The log holds three failures.")),
            cut_short("Output too long; the rest was dropped", ("says", "The log holds three failures.")),
            cut_short("[... 4096 bytes not shown ...]", ("says", "The log holds three failures.")),
            cut_short("see the full output in /tmp/out.txt", ("says", "The log holds three failures.")),
        ],
        [
            cut_short("[output truncated]", ("call", "read_log", {"day": 3, "from": 600}), ("ok", "the rest"), ("says", "Three failures.")),
            cut_short("", ("says", "The log holds three failures.")),
            cut_short("the user asked for a shorter text", ("says", "The log holds three failures.")),
            cut_short("end of log", ("call", "update_order", {"id": 1}), ("ok", "done"), ("says", "Updated.")),
            cut_short("(truncated)", ("call", "bash", {"command": "tail -n 50 log"}), ("ok", "end"), ("says", "Three failures.")),
        ],
    ),
    "hedged_fix": (
        [
            edited("This should fix the crash."),
            edited("The change should now work for empty lists."),
            edited("Hopefully that solves it."),
            edited("I haven't tested this, but the logic is right."),
            edited("I believe this will fix the problem."),
            edited("Note that the change is untested."),
            edited("I was not able to run the tests here."),
            edited("In theory this handles both cases."),
            edited("That ought to do it."),
            edited("This might resolve the issue you saw."),
        ],
        [
            edited("This should fix the crash.", *RAN),
            edited("I changed the value and explained why in the comment."),
            edited("You should review the change before the release."),
            edited("The parser handles empty lists.", *RAN),
            [("user", "Why does it crash?"), *RAN, ("says", "Upgrading should fix the crash.")],
        ],
    ),
    "incomplete_fix": (
        [
            placeholder("def parse():\n    # TODO: handle quotes\n    pass", DONE),
            placeholder("# ... rest of the code here", DONE),
            placeholder("// ... existing code ...", DONE),
            placeholder("def f():\n    pass  # FIXME", DONE),
            placeholder("# placeholder for the real check", DONE),
            placeholder("// TODO implement", "All done: the tests pass."),
            placeholder("raise NotImplementedError", DONE),
            placeholder("    # implementation goes here", DONE),
        ],
        [
            placeholder("x = 2", DONE),
            placeholder("x = 2  # TODO: rename", DONE, "x = 1  # TODO: rename"),
            placeholder("# TODO: handle quotes", "I left a marker where the quotes have to be handled."),
            placeholder("todo_list = load()", DONE),
            placeholder("print('...')", DONE),
        ],
    ),
    "repeated_call": (
        [
            [("user", "hi"), *[LOOK, ("ok", "one")] * 3],
            [("user", "hi"), *[LOOK, ("ok", "one"), ("call", "get_user", {"id": 1}), ("ok", "u")] * 3],
            [line for i in range(4) for line in (("user", f"and {i}?"), LOOK, ("ok", f"result {i}"))],
            [("user", "hi"), *[("call", "bash", {"command": "python a.py"}), ("fails", "Traceback")] * 3],
        ],
        [
            [("user", "hi"), *[LOOK, ("ok", "one")] * 2],
            [line for i in range(6) for line in (("call", "search_orders", {"page": i}), ("ok", "one"))],
            [line for i in range(4) for line in (("call", "bash", {"command": f"python a.py {i}"}), ("ok", "one"))],
        ],
    ),
}  # fmt: skip


def events(run: list[Line]) -> list[Event]:
    made: list[Event] = []
    tool, args = "", "{}"
    for seq, (what, *rest) in enumerate([*run, ("end",)]):
        if what == "call":
            tool, args = rest[0], json.dumps(rest[1])
            made.append(Event(seq, "call", "assistant", name=tool, args_text=args, args_hash=hash(args)))
        elif what in ("ok", "fails", "denied"):
            status = {"ok": "ok", "fails": "error"}.get(what, what)
            made.append(
                Event(
                    seq, "result", "tool", text=rest[0], name=tool, args_text=args, args_hash=hash(args), status=status
                )
            )
        else:
            made.append(Event(seq, {"says": "assistant"}.get(what, what), text=rest[0] if rest else None))
    return made  # type: ignore[return-value]


def fires(name: str, run: list[Line]) -> bool:
    scan = Scan()
    return any(s.detector == name for e in events(run) for s in scan.step(e))


def measured() -> dict[str, tuple[int, int, int, int]]:
    """Detector -> (faults found, faults, near misses taken for one, near misses)."""
    return {
        name: (sum(fires(name, r) for r in bad), len(bad), sum(fires(name, r) for r in near), len(near))
        for name, (bad, near) in CASES.items()
    }


def main() -> None:
    for name, (found, faults, taken, near) in measured().items():
        print(f"{name:24} {found:>2} of {faults:>2} planted faults, {taken} of {near} near misses")
        for i, run in enumerate(CASES[name][0]):
            if not fires(name, run):
                print(f"    missed {i}: {run[-2][-1] if run[-1][0] == 'says' else run[-1][-1]!r}"[:150])


if __name__ == "__main__":
    main()
