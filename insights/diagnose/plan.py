"""What a run would read and cost, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from insights.config import agents_dir
from insights.diagnose import roles
from insights.diagnose.reason import reading_size

if TYPE_CHECKING:
    from primitives.corpus import Corpus

USUAL = {"orchestrator": 1, "scout": 5, "investigator": 3}  # agents that a run with a model sends out, about
USUAL_SHARE = 0.5  # of its limit in tokens that an agent takes, about
PROMPT_TOKENS, ANSWER_TOKENS = 1_200, 300  # of one reading of a trace


def plan(corpus: Corpus, question: str, chosen: dict[str, Any], agents: Path | None) -> dict[str, Any]:
    """Tokens and USD (None where a price is unknown) of the first reading and of the agents. Nothing is sent."""
    import tempfile

    from insights.models import open_tiers

    with tempfile.TemporaryDirectory() as folder:
        tiers = open_tiers(chosen["models"], Path(folder) / "calls.sqlite")
        if tiers is None:
            return {"model": None, "question": question, "traces": len(corpus.traces)}
        with tiers:
            most = reading_size(corpus, tiers, int(chosen["diagnose"]["read"]))
            reading = _reading(corpus, most, int(chosen["diagnose"]["gold"]))
            fast, strong = tiers.fast, tiers.strong
            reading["usd"] = fast.price and fast.price.cost(reading["input_tokens"], 0, 0, reading["output_tokens"])
            thinking = _thinking(agents or agents_dir())
            # what an agent sends is mostly its own conversation again, which providers read from their cache
            usual = thinking["usual_tokens"]
            thinking["usd"] = strong.price and strong.price.cost(
                int(0.9 * usual), int(0.7 * usual), 0, int(0.1 * usual)
            )
            names = list(dict.fromkeys([strong.name, fast.name]))
    ceiling = {"usd": chosen["models"]["budget_usd"], "tokens": chosen["models"]["max_tokens"]}
    return {
        "model": names,
        "question": question,
        "traces": len(corpus.traces),
        "reading": reading,
        "agents": thinking,
        "ceiling": ceiling,
    }


def _reading(corpus: Corpus, most: int, gold: int) -> dict[str, Any]:
    from primitives.tokens import CHARACTERS_PER_TOKEN

    n, failed, chars = corpus.con.execute(
        "SELECT count(*), count(*) FILTER (success IS FALSE), (SELECT sum(text_len) FROM steps WHERE origin IS DISTINCT FROM 'copied') FROM traces"
    ).fetchall()[0]
    explained = min(failed or n, most)
    labelled = min(n, 2 * most)
    readings = explained + labelled + 3 * min(gold, labelled)  # labels share most of their second readings
    tokens = readings * ((chars or 0) / CHARACTERS_PER_TOKEN / max(n, 1) + PROMPT_TOKENS)
    return {"explained": explained, "labelled": labelled, "readings": readings, "input_tokens": int(tokens),
            "output_tokens": readings * ANSWER_TOKENS}  # fmt: skip


def _thinking(folder: Path) -> dict[str, Any]:
    limits = {name: roles.load(folder, name).max_tokens for name in USUAL}
    usual = int(USUAL_SHARE * sum(limits[name] * n for name, n in USUAL.items()))
    return {"most_tokens_each": limits, "usual_agents": USUAL, "usual_tokens": usual}


def in_words(found: dict[str, Any]) -> list[str]:
    """The plan for a person."""
    if found["model"] is None:
        return [
            f"{found['traces']:,} traces, no model named: the playbooks run here, nothing is sent and nothing costs."
        ]
    reading, agents, ceiling = found["reading"], found["agents"], found["ceiling"]
    cap = [] if ceiling["usd"] is None else [f"${ceiling['usd']:.2f}"]
    cap += [] if ceiling["tokens"] is None else [f"{ceiling['tokens']:,} tokens"]
    return [
        f"{found['traces']:,} traces; {' and '.join(found['model'])}. What looks like a secret is masked before it is sent.",
        f"First reading: {reading['explained']:,} traces explained, {reading['labelled']:,} labelled, some read again; about "
        f"{reading['input_tokens']:,} tokens in, {_money(reading['usd'])}.",
        f"Agents: usually about {sum(agents['usual_agents'].values())}, {agents['usual_tokens']:,} tokens, most of them cached, "
        f"{_money(agents['usd'])}.",
        f"Ceiling: {' and '.join(cap)}." if cap else "No ceiling: --budget-usd or --max-tokens sets one.",
    ]


def _money(usd: float | None) -> str:
    return "price unknown" if usd is None else f"about ${usd:.2f}"
