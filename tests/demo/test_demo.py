"""The simulated desk: its faults really cause failures, its logs do not tell, and the same seed writes the same files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from insights.demo import Plants, compare_with_findings, simulate
from insights.demo.agent import converse
from insights.demo.shop import TOOLS, Customer, Item, Order, Shop, ToolError
from insights.demo.simulate import PLANTED
from insights.demo.tasks import WEIGHTS, make_tasks
from insights.records import Cause, Finding, Predicate, Prevalence
from tests.report.sample import make_report

TODAY = date(2026, 3, 10)
WHO = Customer("C1", "Ada Low", "ada@mail.example", "+44")


def order(n_items: int, **columns: object) -> Order:
    items = tuple(Item(f"W1-{i}", "Elm", f"Elm thing {i}", 10.0 + i, date(2026, 6, 1)) for i in range(1, n_items + 1))
    values = {
        "id": "W1",
        "placed": date(2026, 3, 1),
        "status": "processing",
        "ship_to": "1 Mill Lane",
        "card_open": True,
        "carrier_up": True,
        "items": items,
    }
    return Order(**{**values, **columns})  # type: ignore[arg-type]


def shop(o: Order) -> Shop:
    return Shop(WHO, (o,), TODAY, random.Random(0))


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Plants:
    return simulate(tmp_path_factory.mktemp("demo"), tasks=120, trials=4, seed=3)


def test_orders_longer_than_a_page_lose_one_item() -> None:
    for n in range(1, 10):
        s = shop(order(n))
        first = s.call("get_order", order_id="W1")
        pages = [first, *(s.call("get_order", order_id="W1", page=p) for p in range(2, first["pages"] + 1))]
        seen = [i["id"] for page in pages for i in page["items"]]
        assert len(seen) == (n if n <= 5 else n - 1)
        s.close()


def test_tools_change_the_shop_and_only_that_counts() -> None:
    s = shop(order(3))
    assert s.changes() == frozenset()
    s.call("refund_item", order_id="W1", item_id="W1-1")
    s.call("cancel_item", order_id="W1", item_id="W1-2")
    s.call("change_address", order_id="W1", address="9 Kiln Row")
    assert s.changes() == {("refunded", "W1-1"), ("cancelled", "W1-2"), ("ship_to", "W1", "9 Kiln Row")}
    s.close()


def test_tools_refuse_what_cannot_be() -> None:
    s = shop(order(1, status="shipped", card_open=False))
    for name, arguments, says in (
        ("cancel_order", {"order_id": "W1"}, "cannot be cancelled"),
        ("refund_item", {"order_id": "W1", "item_id": "W1-1"}, "account closed"),
        ("get_order", {"order_id": "W9"}, "no order W9"),
        ("find_customer", {"email": "nobody@mail.example"}, "no customer"),
        ("changes", {}, "unknown tool"),
    ):
        with pytest.raises(ToolError, match=says):
            s.call(name, **arguments)
    assert s.changes() == frozenset()
    assert s.call("refund_item", order_id="W1", item_id="W1-1", to="store_credit")["status"] == "refunded"
    s.close()


def test_every_kind_of_task_can_be_solved_and_failed(plants: Plants) -> None:
    kinds: dict[str, set[bool]] = {want: set() for want in WEIGHTS}
    for task in make_tasks(120, random.Random(3)):
        for trial in range(4):
            talk = converse(task, "4.1", random.Random(f"x{task.id}{trial}"))
            kinds[task.want].add(talk.shop.changes() == task.wanted)
            talk.shop.close()
    assert all(outcomes == {True, False} for outcomes in kinds.values()), kinds


def records(plants: Plants) -> list[dict]:
    return [json.loads(line) for file in sorted(plants.logs.glob("*.jsonl")) for line in file.open()]


def test_every_fault_causes_failures_and_decoys_do_not(plants: Plants) -> None:
    share = {p.name: len(p.failed) / len(p.trace_ids) for p in plants.plants}
    faults = {p.name for p in plants.plants if p.kind == "fault"}
    assert {p.name for p in plants.plants} == set(PLANTED) and all(p.trace_ids for p in plants.plants)
    assert all(share[name] >= 0.3 for name in faults), share
    everywhere = plants.n_failed / plants.n_traces
    assert abs(share["policy_twice"] - everywhere) < 0.12


def test_the_difficulty_decoy_is_harmless_within_tasks(plants: Plants) -> None:
    """Commoner where tasks are hard: it fails more overall, and not more than other trials of the same tasks."""
    rows = {r["id"]: r for r in records(plants)}
    decoy = next(p for p in plants.plants if p.name == "mistyped_email")
    ids = {i.split(":", 1)[1] for i in decoy.trace_ids}
    by_task: dict[str, list[tuple[bool, bool]]] = {}
    for name, r in rows.items():
        by_task.setdefault(r["metadata"]["task_id"], []).append((name in ids, r["metadata"]["success"]))
    mixed = [trials for trials in by_task.values() if len({hit for hit, _ in trials}) == 2]
    with_ = [ok for trials in mixed for hit, ok in trials if hit]
    without = [ok for trials in mixed for hit, ok in trials if not hit]
    assert len(with_) > 30 and abs(sum(with_) / len(with_) - sum(without) / len(without)) < 0.12


def test_logs_do_not_tell_what_was_planted(plants: Plants) -> None:
    assert plants.manifest.parent == plants.logs.parent and not list(plants.logs.glob("*plant*"))
    text = "".join(f.read_text() for f in plants.logs.glob("*.jsonl"))
    assert not [name for name in PLANTED if name in text]
    assert "planted" not in text and "misgraded" not in text


def test_logs_are_openai_conversations(plants: Plants) -> None:
    rows = records(plants)
    assert len(rows) == plants.n_traces == len({r["id"] for r in rows})
    for r in rows:
        calls = [c["id"] for m in r["messages"] for c in m.get("tool_calls", ())]
        answers = [m["tool_call_id"] for m in r["messages"] if m["role"] == "tool"]
        assert calls == answers and len(set(calls)) == len(calls)
        names = {c["function"]["name"] for m in r["messages"] for c in m.get("tool_calls", ())}
        assert names <= set(TOOLS)
        stamps = [m["timestamp"] for m in r["messages"][1:]]
        assert stamps == sorted(stamps)
    assert sum(not r["metadata"]["success"] for r in rows) == plants.n_failed
    asks = {r["messages"][1]["content"] for r in rows}
    assert len(asks) > 0.9 * len(rows)


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate(tmp_path / name, tasks=30, trials=2, seed=11)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files and all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_manifest_holds_what_the_plants_say(plants: Plants) -> None:
    written = json.loads(plants.manifest.read_text())
    assert [(p["name"], tuple(p["trace_ids"])) for p in written] == [(p.name, p.trace_ids) for p in plants.plants]
    assert all(p["prevalence"] == pytest.approx(len(p["trace_ids"]) / plants.n_traces) for p in written)


def finding(name: str, ids: tuple[str, ...], verdict: str = "confirmed") -> Finding:
    base = make_report().findings[0]
    prevalence = Prevalence(len(ids), 480, 0, 0.0, 1.0, "Wilson")
    return replace(base, id=name, trace_ids=ids, prevalence=prevalence, verdict=verdict, predicate=Predicate(name))  # type: ignore[arg-type]


def test_plants_and_findings_are_matched_one_to_one(plants: Plants) -> None:
    by_name = {p.name: p for p in plants.plants}
    refused, decoy = by_name["refused_line"], by_name["policy_twice"]
    findings = (
        finding("F1", refused.trace_ids[: len(refused.trace_ids) * 2 // 3]),
        finding("F2", refused.trace_ids),
        finding("F3", by_name["retry_loop"].failed),
        finding("F4", decoy.trace_ids),
        finding("F5", by_name["lost_item"].trace_ids, verdict="inconclusive"),
        finding("F6", ("elsewhere",)),
    )
    rows = compare_with_findings(plants, replace(make_report(), findings=findings, partition=()))
    got = {r.plant.name: (r.outcome, r.finding.id if r.finding else None) for r in rows if r.plant}
    assert got["refused_line"] == ("found", "F2")
    assert got["retry_loop"] == ("found", "F3")
    assert got["policy_twice"] == ("raised wrongly", "F4")
    assert got["lost_item"] == ("missed", None)
    assert got["mistyped_email"] == ("left alone", None)
    assert {r.finding.id for r in rows if r.plant is None and r.finding} == {"F1", "F6"}


def test_a_cause_of_failures_counts_though_it_is_only_descriptive(plants: Plants) -> None:
    lost = next(p for p in plants.plants if p.name == "lost_item")
    report = replace(make_report(), findings=(finding("F1", lost.trace_ids, verdict="descriptive"),), partition=())
    cause = Cause("lost", "F1", "environment", len(lost.failed), lost.failed)
    for partition, outcome in (((), "missed"), ((cause,), "found")):
        rows = compare_with_findings(plants, replace(report, partition=partition))
        assert next(r.outcome for r in rows if r.plant is lost) == outcome


def test_a_report_without_findings_misses_everything(plants: Plants) -> None:
    rows = compare_with_findings(plants, replace(make_report(), findings=(), partition=()))
    assert [r.outcome for r in rows if r.plant] == ["missed"] * 7 + ["left alone"] * 2
