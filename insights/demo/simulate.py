"""Play the tasks of the simulated desk, grade them by the state of the shop, and write logs and, apart from them, the plants."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from insights.demo.agent import Talk, converse
from insights.demo.tasks import Task, make_tasks

TASKS = 200
TRIALS = 4
VERSIONS = ("4.1", "4.2")  # the later half of a task's trials runs the later version
TRACE_PREFIX = "openai_chat:"  # what the reader of these logs puts before a conversation's id

PLANTED: dict[str, tuple[Literal["fault", "decoy"], str]] = {
    "refused_line": (
        "fault",
        "The agent refuses refunds on one product line, Alder, although the policy covers every line.",
    ),
    "lost_item": (
        "fault",
        "get_order loses the first item of page two, so orders of six or more items are not refunded whole.",
    ),
    "retry_loop": (
        "fault",
        "When the carrier's tool fails the agent repeats the same call many times and then gives up.",
    ),
    "cancelled_unasked": ("fault", "Version 4.2 cancels a whole order without asking which items are meant."),
    "skipped_warranty": (
        "fault",
        "When the customer says 'gift' the agent never checks the warranty and gives credit instead.",
    ),
    "claimed_success": (
        "fault",
        "The refund tool answers with an error and the agent tells the customer it was refunded.",
    ),
    "misgraded": (
        "fault",
        "One task's answer key names another item than the customer asks for, so that right conduct fails.",
    ),
    "policy_twice": ("decoy", "The same policy is read twice; harmless, and as common in passes."),
    "mistyped_email": (
        "decoy",
        "Looking up a mistyped e-mail fails; commoner in hard tasks, which fail more, but harmless.",
    ),
}


@dataclass(frozen=True, slots=True)
class Plant:
    """Something planted: where it happened (`trace_ids`), and where of these the conversation failed."""

    name: str
    what: str
    prevalence: float
    trace_ids: tuple[str, ...]
    kind: Literal["fault", "decoy"]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plants:
    """`logs` is the only folder an analysis may see; `manifest` lies outside of it."""

    logs: Path
    manifest: Path
    n_traces: int
    n_failed: int
    plants: tuple[Plant, ...]


def simulate(out: Path, *, tasks: int = TASKS, trials: int = TRIALS, seed: int = 0) -> Plants:
    """Write `out`/logs/*.jsonl (one conversation a line, a file a week) and `out`/plants.json. Same seed, same files."""
    rng = random.Random(seed)
    happened: dict[str, list[str]] = {name: [] for name in PLANTED}
    failures: set[str] = set()
    weeks: dict[str, list[dict[str, Any]]] = {}
    for task in make_tasks(tasks, rng):
        for trial in range(trials):
            version = VERSIONS[trial * len(VERSIONS) // trials]
            talk = converse(task, version, random.Random(f"{seed}/{task.id}/{trial}"))
            success = talk.shop.changes() == task.wanted
            talk.shop.close()
            record = _record(task, trial, talk, success)
            year, week, _ = task.today.isocalendar()
            weeks.setdefault(f"{year}-W{week:02d}", []).append(record)
            trace_id = TRACE_PREFIX + record["id"]
            for name in talk.happened | ({"misgraded"} if task.misgraded else set()):
                happened[name].append(trace_id)
            if not success:
                failures.add(trace_id)
    n = tasks * trials
    plants = tuple(
        Plant(name, what, len(happened[name]) / n, tuple(happened[name]), kind,
              tuple(i for i in happened[name] if i in failures))
        for name, (kind, what) in PLANTED.items()
    )  # fmt: skip
    found = Plants(out / "logs", out / "plants.json", n, len(failures), plants)
    _write(found, weeks)
    return found


def _record(task: Task, trial: int, talk: Talk, success: bool) -> dict[str, Any]:
    rng = talk.rng
    written = sum(len(json.dumps(m)) for m in talk.messages if m["role"] == "assistant")
    read = 0
    length = 0
    for m in talk.messages:
        if m["role"] == "assistant":
            read += length
        length += len(json.dumps(m))
    start = talk.messages[1]["timestamp"]
    return {
        "id": f"conv_{rng.getrandbits(48):012x}",
        "model": "fernwood-chat-2",
        "messages": talk.messages,
        "usage": {"prompt_tokens": read // 4, "completion_tokens": written // 4},
        "metadata": {
            "task_id": task.id,
            "trial": trial,
            "agent": "support-desk",
            "agent_version": talk.version,
            "channel": rng.choice(("web", "web", "app")),
            "success": success,
            "started_at": start,
            "ended_at": (talk.clock + timedelta(seconds=1)).isoformat() + "Z",
        },
    }


def _write(plants: Plants, weeks: dict[str, list[dict[str, Any]]]) -> None:
    plants.logs.mkdir(parents=True, exist_ok=True)
    for week, records in weeks.items():
        lines = (json.dumps(r, ensure_ascii=False) for r in sorted(records, key=lambda r: r["metadata"]["started_at"]))
        (plants.logs / f"support-{week}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    manifest = json.dumps([asdict(p) for p in plants.plants], ensure_ascii=False, indent=1)
    plants.manifest.write_text(manifest + "\n", encoding="utf-8")
