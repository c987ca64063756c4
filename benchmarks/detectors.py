"""How often detectors fire on labelled corpora, how often they are right, and how fast they are.

    python benchmarks/detectors.py                     writes docs/detectors.md
    python benchmarks/detectors.py --read NAME [-n 30] prints signals to be read, with the steps around them

It needs the corpora of ../shared (or --shared DIR). Precision is counted over detectors_read.csv beside this file: each
row is a signal that a person or a strong model has read in its trace (right, wrong or unclear, with a reason in its own
words, never the trace's). A row whose signal no longer fires is not counted, so a changed detector is measured anew.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.detectors_planted import measured  # noqa: E402
from insights.corpus.discover import discover  # noqa: E402
from insights.corpus.formats import recognise  # noqa: E402
from insights.corpus.trace import Trace  # noqa: E402
from primitives.detectors import DETECTORS, Scan, Signal, events_of, scan_trace  # noqa: E402

READ = Path(__file__).with_name("detectors_read.csv")
OUT = ROOT / "docs" / "detectors.md"
FOLDERS = {
    "tau-bench airline": "corpora/taubench/gpt-4o-airline.json",
    "tau-bench retail": "corpora/agentrx/data/tau_retail/tau_dataset_full.json",
    "tau2-bench": "corpora/tau2",
    "AgentDojo": "corpora/agentdojo/runs",
    "SWE-agent": "corpora/sweagent",
    "mini-swe-agent": "corpora/miniswe",
    "aider": "corpora/aider",
    "Who&When": "corpora/whowhen",
    "Claude Code samples": "samples/claude_code",
    "Codex samples": "samples/codex_cli",
}
SAMPLE = 30
PLANTED = measured()  # of detectors of which no signal was read
Fired = list[tuple[Trace, Signal]]


def traces_of(path: Path) -> Iterator[Trace]:
    """Every trace below a path, as the readers give it, finished."""
    with tempfile.TemporaryDirectory() as spool:
        for source in discover([str(path)], spool=Path(spool))[0]:
            known = recognise(source.head)
            if known is None or known[0].role != "trace":
                continue
            for trace in known[0].read(source):
                trace.finish(source.source_id)
                yield trace


def sample(fired: Fired, n: int) -> Fired:
    """At most n signals, one of each trace and in turn from each format, in an order that a seed fixes."""
    shuffled = sorted(fired, key=lambda f: (f[0].trace_id, f[1].seq))
    random.Random(7).shuffle(shuffled)
    by_format: dict[str, Fired] = defaultdict(list)
    seen: set[str] = set()
    for trace, signal in shuffled:
        if trace.trace_id not in seen:
            seen.add(trace.trace_id)
            by_format[f"{trace.format}/{trace.dataset}"].append((trace, signal))
    picked: Fired = []
    while len(picked) < n and any(by_format.values()):
        for name in sorted(by_format):
            if by_format[name] and len(picked) < n:
                picked.append(by_format[name].pop(0))
    return picked


def show(fired: Fired, n: int, width: int) -> None:
    for trace, signal in sample(fired, n):
        print(f"\n{trace.trace_id},{signal.seq} success={trace.success} end={trace.end_reason}\n  {signal.detail}")
        for seq in sorted({signal.start_seq, signal.seq}):
            step = trace.steps[seq]
            text = " ".join((step.text or "").split())
            head = text if len(text) <= width else f"{text[: width // 2]} … {text[-width // 2 :]}"
            made = "".join(
                f" CALL {c.name}({(c.args_text or '')[:160]})={c.status}" for c in trace.calls if c.call_seq == seq
            )
            print(f"  {seq} {step.role}: {head}{made}")


def judged() -> dict[tuple[str, str, int], str]:
    """(detector, trace_id, seq) -> right, wrong or unclear."""
    if not READ.exists():
        return {}
    with READ.open(encoding="utf-8", newline="") as file:
        return {(r["detector"], r["trace_id"], int(r["seq"])): r["verdict"] for r in csv.DictReader(file)}


def precision(name: str, fired: Fired, verdicts: dict[tuple[str, str, int], str]) -> str:
    counts = Counter(verdicts.get((name, trace.trace_id, signal.seq)) for trace, signal in fired)
    right, wrong, unclear = counts["right"], counts["wrong"], counts["unclear"]
    if right + wrong == 0:
        if name not in PLANTED:
            return "unmeasured"
        found, faults, taken, near = PLANTED[name]
        return f"planted: {found}/{faults} found, {taken}/{near} near misses"
    from primitives.stats.intervals import wilson

    low, high = wilson(right, right + wrong)
    note = f", {unclear} unclear" if unclear else ""
    return f"{right}/{right + wrong} ({100 * low:.0f}–{100 * high:.0f} %){note}"


def speed(traces: list[Trace]) -> tuple[int, float]:
    """(events, events per second of process time, best of three), the events made beforehand."""
    events = [list(events_of(t)) for t in traces]
    n, best = sum(map(len, events)), float("inf")
    for _ in range(3):
        start = time.process_time()
        for run in events:
            step = Scan().step
            for event in run:
                step(event)
        best = min(best, time.process_time() - start)
    return n, n / best


def loop_speed() -> float:
    """Turns of an empty loop a second: what this machine and its other work leave to one process."""
    start = time.process_time()
    for _ in range(5_000_000):
        pass
    return 5_000_000 / (time.process_time() - start)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arguments.add_argument("--read", metavar="NAME", help="detectors to print signals of, separated by commas")
    arguments.add_argument("-n", type=int, default=SAMPLE)
    arguments.add_argument("--width", type=int, default=400)
    options = arguments.parse_args()
    if not options.shared.is_dir():
        raise SystemExit(f"{options.shared} is no folder; name the one with corpora/ and samples/: --shared DIR")
    fired: dict[str, Fired] = defaultdict(list)
    totals: Counter[bool | None] = Counter()
    rates = []
    for name, place in FOLDERS.items():
        traces = list(traces_of(options.shared / place))
        totals.update(t.success for t in traces)
        for trace in traces:
            for signal in scan_trace(trace):
                fired[signal.detector].append((trace, signal))
        if not options.read:
            rates.append((name, len(traces), *speed(traces)))
    if options.read:
        for name in options.read.split(","):
            print(f"\n=== {name}: {len(fired[name])} signals in {len({t.trace_id for t, _ in fired[name]})} traces")
            show(fired[name], options.n, options.width)
        return
    OUT.write_text(page(fired, totals, rates), encoding="utf-8")
    print(OUT)


def page(fired: dict[str, Fired], totals: Counter[bool | None], rates: list[tuple[str, int, int, float]]) -> str:
    verdicts = judged()
    rows = []
    for name, detector in sorted(DETECTORS.items(), key=lambda item: (item[1].family, item[0])):
        by = Counter(t.success for t in {t.trace_id: t for t, _ in fired[name]}.values())
        limits = ", ".join(f"{k} {v}" for k, v in detector.thresholds.items()) or "–"
        rows.append(
            f"| `{name}` | {detector.severity} | {detector.line} | {limits} | {share(by[False], totals[False])} | "
            f"{share(by[True], totals[True])} | {by[None]}/{totals[None]} | {precision(name, fired[name], verdicts)} |"
        )
    speeds = [f"| {name} | {n} | {events} | {rate:,.0f} |" for name, n, events, rate in rates]
    return TEMPLATE.format(
        rows="\n".join(rows),
        speeds="\n".join(speeds),
        loop=f"{loop_speed() / 1e6:.0f}",
        all_events=sum(r[2] for r in rates),
        all_rate=f"{sum(r[2] for r in rates) / sum(r[2] / r[3] for r in rates):,.0f}",
    )


def share(k: int, n: int) -> str:
    return f"{k}/{n} ({100 * k / n:.1f} %)" if n else "–"


TEMPLATE = """# Detectors

Programs that read a run event by event and write what they see to the table `signals`: at ingest, by `insights detect`
and on a live run, the same code. Generated by `benchmarks/detectors.py`; thresholds stand in `configs/default.yaml`
below `detectors:` and are changed in a project file.

A signal is a place worth reading, not a verdict: look at how often it fires in runs that passed. *Precision* is the share
of read signals that were what the definition says, with a 95 % Wilson interval; the reading is
`benchmarks/detectors_read.csv`, one row a signal. *Planted*: it fired too seldom on these corpora to be read, so it was
measured on runs written for the purpose (`benchmarks/detectors_planted.py`): faults found, and runs close to the fault
that were taken for one. That says what it can see, not how often it is right in the field.
The corpora are customer service (tau-bench, tau2-bench), office work under injection attacks (AgentDojo), repair of
software (SWE-agent, mini-swe-agent, aider), teams of agents (Who&When); outcomes from their own graders. The runs without
a verdict are samples of coding sessions.

| detector | severity | fires when | thresholds | failed runs | passed runs | no verdict | precision |
|---|---|---|---|---|---|---|---|
{rows}

## Speed

Events a second on one core, all detectors together, events made beforehand; the best of three.

| corpus | traces | events | events/s |
|---|---|---|---|
{speeds}
| all | | {all_events} | {all_rate} |

An empty Python loop made {loop} million turns a second at the same time on the same machine.

## On a live run

```python
from primitives.detectors import Event, Scan

scan = Scan()
args = '{{"order": 7}}'
for seq in (0, 2, 4):  # as they happen: step gives the signals that this event completes
    asked = Event(seq, "call", name="get_order", args_text=args, args_hash=hash(args))
    told = Event(seq + 1, "result", name="get_order", args_text=args, args_hash=hash(args), text="Error: 503", status="error")
    for signal in scan.step(asked) + scan.step(told):
        print(signal.seq, signal.detector, signal.detail)
scan.end("completed")
```

## Rules of your own

`insights detect CORPUS --rules rules.yaml` runs sequence rules over a corpus: `seq`, `repeat`, `cycle`, `absent`, `count`
and `ratio` over terms such as `refund_* result(error)`, `@mutating`, `@answer match(fixed)`.

```yaml
rules:
  refund_before_lookup:
    line: a refund is made before the order was looked up
    severity: high
    absent: get_order
    before: refund_*
  stubborn:
    repeat: "@call"
    times: 3
    same: args
    within: 20
  edit_without_test:
    seq: ["@edit", "not @test", "@answer match(fixed|done)"]
```

`primitives/detectors/rules.py` lists the operators and their options, `primitives/detectors/terms.py` the terms.
"""


if __name__ == "__main__":
    main()
