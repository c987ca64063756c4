"""Scripts of models: a careful reader that answers by what the request shows, and pieces to build others from."""

from __future__ import annotations

import json
import re
from typing import Any

from insights.models import Request
from tests.diagnose.conftest import GIVES_UP


def cell(code: str) -> dict[str, Any]:
    return {"tool_calls": [{"name": "run_python", "arguments": {"code": code}}]}


def turn(request: Request) -> int:
    """How many answers this conversation has had."""
    return sum(message.role == "assistant" for message in request.messages)


def text(request: Request) -> str:
    return request.messages[-1].text


def reads(request: Request) -> str:
    """The judge: says what the trace shows, with its quotation."""
    shown = text(request)
    gave_up = GIVES_UP in shown
    place = re.search(rf"#(\d+) assistant\n{re.escape(GIVES_UP)}", shown)
    at, quote = (int(place[1]), GIVES_UP) if place else (1, "Opening it.")
    properties = request.schema["properties"] if request.schema else {}
    if "codes" in properties:
        code = {
            "name": "gives_up", "title": "The clerk gives up on a long form", "question": "Does the clerk stop before the form is complete?",
            "who": "agent", "mechanism": "It finds the form too long.", 
            "suggested_fix": "Say that forms are to be completed.", "data_gap": "Long forms.",
        }  # fmt: skip
        return json.dumps({"codes": [code]})
    if "runs" in properties:
        numbers = [int(n) for n in re.findall(r"(?m)^- (\d+): ", shown)]
        return json.dumps({"runs": [{"number": n, "mechanism": "gives_up"} for n in numbers]})
    if "answer" in properties:
        fields = {"root_cause": "it stops before the form is complete", "step": at, "who": "agent", "instead": "go on"}
        return json.dumps({"answer": fields, "seq": at, "quote": quote})
    answer = {
        "why": "it says so",
        "seq": at if gave_up else -1,
        "quote": quote if gave_up else "",
        "value": "yes" if gave_up else "no",
    }
    return json.dumps(dict.fromkeys(properties, answer))


def careful(request: Request) -> Any:
    """Every role of a run, done well in as few words as can be."""
    if request.role.startswith("judge"):
        return reads(request)
    if request.role == "synthesizer":
        return json.dumps({"lines": ["Of {failed} failures, the clerk's giving up explains {F1.count} [F1]."]})
    if request.role == "orchestrator":
        return ORCHESTRATOR[min(turn(request), len(ORCHESTRATOR) - 1)]
    if request.role == "scout":
        return SCOUT[min(turn(request), len(SCOUT) - 1)]
    return INVESTIGATOR[min(turn(request), len(INVESTIGATOR) - 1)]


ORCHESTRATOR = [
    cell("overview()"),
    cell(
        'found = dispatch("scout", [{"task": "Read the ends of failed runs."}])\n[h["id"] for f in found for h in f["hypotheses"]]'
    ),
    cell(
        'told = dispatch("investigator", [{"task": "Test it.", "hypotheses": found[0]["hypotheses"]}])\n[t["findings"] for t in told]'
    ),
    cell('finish("The clerk gives up.")'),
]
PREDICATE = "SELECT trace_id, seq, text AS quote FROM steps WHERE contains(text, 'too long')"
SCOUT = [
    cell('print(read("run0"))'),
    cell(f'submit_hypothesis("Runs in which the clerk calls the form too long fail", "{PREDICATE}", kind="contrast")'),
    cell('finish("one hypothesis")'),
]
INVESTIGATOR = [
    cell(f'len(sql("{PREDICATE}"))'),
    cell(
        f"""h = brief["hypotheses"][0]
submit_finding(h["id"], title="The clerk calls the form too long and stops", claim="Such runs fail", mechanism="It does not turn the page.",
    predicate="{PREDICATE}", kind="prevalence", taxonomy={{"actor": "agent"}},
    citations=[{{"trace_id": "run0", "seq": 3, "quote": "the form is too long"}}])"""
    ),
    cell('finish("It holds.")'),
]
