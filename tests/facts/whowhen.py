"""Facts of ../shared/corpora/whowhen."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.facts.registry import Query, fact, spread, traces

ALGORITHM, HAND = "dataset = 'Algorithm-Generated'", "dataset = 'Hand-Crafted'"


@fact("whowhen", "W1")
def _(q: Query) -> Any:
    lengths = {w: [r[0] for r in q(f"SELECT n_steps FROM traces WHERE {w}")] for w in (ALGORITHM, HAND)}
    return {
        "alg": len(lengths[ALGORITHM]),
        "hand": len(lengths[HAND]),
        "messages_alg": spread(lengths[ALGORITHM]),
        "messages_hand": spread(lengths[HAND]),
        "tokens": spread([int(r[0] / 4) for r in q("SELECT sum(coalesce(text_len, 0)) FROM steps GROUP BY trace_id")]),
    }


BLAMED = "SELECT a.label FROM annotations a JOIN traces USING (trace_id) WHERE kind = 'failure' AND "


@fact("whowhen", "W2")
def _(q: Query) -> Any:
    return dict(Counter(r[0] for r in q(BLAMED + HAND)))


@fact("whowhen", "W3")
def _(q: Query) -> Any:
    found = Counter(r[0] for r in q(BLAMED + ALGORITHM))
    return {"top": [list(x) for x in found.most_common()], "distinct": len(found)}


@fact("whowhen", "W4")
def _(q: Query) -> Any:
    rows = q("SELECT dataset, a.seq, n_steps FROM annotations a JOIN traces USING (trace_id) WHERE kind = 'failure'")
    alg, hand = ([(s, n) for d, s, n in rows if d == name] for name in ("Algorithm-Generated", "Hand-Crafted"))
    return {
        "step_alg": spread([s for s, _ in alg]),
        "step_hand": spread([s for s, _ in hand]),
        "rel_alg": round(sum(s / (n - 1) for s, n in alg) / len(alg), 2),
        "rel_hand": round(sum(s / (n - 1) for s, n in hand) / len(hand), 2),
        "step0": sum(s == 0 for _, s, _ in rows),
    }


@fact("whowhen", "W5")
def _(q: Query) -> Any:
    rows = q(
        "SELECT t.native_id, t.dataset, a.label, s.agent FROM annotations a JOIN traces t USING (trace_id)"
        " JOIN steps s ON s.trace_id = a.trace_id AND s.seq = a.seq WHERE a.kind = 'failure'"
    )
    agree = {w: [r[2] == r[3] for r in rows if r[1] == w] for w in ("Algorithm-Generated", "Hand-Crafted")}
    return {
        "alg": [sum(agree["Algorithm-Generated"]), len(agree["Algorithm-Generated"])],
        "hand": [sum(agree["Hand-Crafted"]), len(agree["Hand-Crafted"])],
        "mismatch": [r[0] for r in rows if r[2] != r[3]],
    }


CODE_FAILED = (
    f"SELECT DISTINCT traces.native_id FROM steps JOIN traces USING (trace_id)"
    f" WHERE {ALGORITHM} AND regexp_matches(text, 'exitcode: [1-9]|Traceback')"
)


@fact("whowhen", "W6")
def _(q: Query) -> Any:
    k = len(q(CODE_FAILED))
    return {"n": k, "of": 126, "pct": round(100 * k / 126, 1)}


@traces("whowhen", "W6")
def _(q: Query) -> Any:
    return q(CODE_FAILED)


REASONS = {
    "W7.0": r"\bcode\b|script|function|exception|python",
    "W7.1": r"calculat|comput|count|arithmetic|sum\b",
    "W7.2": r"search|web|website|click|page|link|url|brows",
    "W7.3": r"hallucinat|fabricat|invent|made up|assum|simulat|hypothetic|mock",
    "W7.4": r"verif|valid|check",
}


def _reason(id: str) -> None:
    def found(q: Query) -> Any:
        return q(
            "SELECT native_id FROM annotations a JOIN traces USING (trace_id) WHERE kind = 'failure'"
            f" AND regexp_matches(explanation, '{REASONS[id]}', 'i')"
        )

    def answer(q: Query) -> Any:
        k = len(found(q))
        return {"n": k, "of": 184, "pct": round(100 * k / 184, 1)}

    fact("whowhen", id)(answer)
    traces("whowhen", id)(found)


for _id in REASONS:
    _reason(_id)
