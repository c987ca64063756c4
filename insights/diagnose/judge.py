"""The verbs by which a cell has traces read: `classify`, `extract`, `summarize`. They run on the host.

A trace goes to the fast model whole, or part by part with a turn that puts the parts together. An answer counts when its
quotation stands in the trace; without one the trace is unjudged, and the reason is kept. Labels carry the model and the
hash of their question, and what the same model has answered before is not asked again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from insights.diagnose import labels, reading, schemas
from insights.diagnose.labels import Label
from insights.diagnose.openings import NOTHING, openings, shared_texts
from insights.diagnose.quotes import find_quote
from insights.errors import GatewayRefused, ModelError
from insights.models import Message, Reply, Request, map_calls

if TYPE_CHECKING:
    from insights.diagnose.marks import Marks
    from insights.diagnose.roles import Role
    from insights.models import Metered, Tiers
    from primitives.corpus import Corpus

OUTPUT_TOKENS = 4_000  # of one answer, reasoning included
TEXTS_TOKENS = 20_000  # of texts that summarize reads together
AT_ONCE = 100  # traces rendered at a time, which bounds memory
NOTHING_TO_QUOTE = ("no", "none")
Stage = Literal["whole", "again", "combine", "texts"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of each trace, and the schema of the answer. Either `questions` with `choices`, or `question`."""

    schema: dict[str, Any]
    show: tuple[str, ...] = ()
    question: str = ""
    questions: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()

    def hash(self, name: str | None = None) -> str:
        """Identity of the question, or of one of several: whatever can change its answer except the model."""
        asked = dict(self.questions).get(name, "") if name is not None else [self.question, self.schema]
        text = json.dumps([asked, self.choices, self.show], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Unread:
    """Why there is no answer."""

    why: str


class Judge:
    """Reads traces of one corpus for one run. `read`, `reused` (read before) and `unjudged` (by reason) count what came of it."""

    def __init__(
        self, corpus: Corpus, tiers: Tiers, marks: Marks, role: Role, run_id: str, tell: Callable[[str], None]
    ) -> None:
        self.corpus, self.tiers, self.marks, self.role = corpus, tiers, marks, role
        self.run_id, self.tell = run_id, tell
        self.read = self.reused = 0
        self.unjudged: Counter[str] = Counter()
        self._asked: dict[str, Asked] = {}
        self._shared: dict[str, tuple[str, str]] | None = None

    async def classify(
        self, questions: dict[str, str], trace_ids: list[str], choices: list[str], show: list[str], gold: int = 0
    ) -> dict[str, Any]:
        """One row per trace and question. Raises GatewayRefused for names, choices or `show` that cannot be meant."""
        if not questions or len(choices) < 2:
            raise GatewayRefused(
                "classify needs a question and at least two choices", '{"gave_up": "Does the agent …?"}'
            )
        asked = Asked(
            schemas.answer(questions, choices), tuple(show), questions=tuple(questions.items()), choices=tuple(choices)
        )
        reading.check_show(self.corpus, show)
        reading.check_blind(show)
        for name in questions:
            labels.check_name(self.corpus, name, asked.hash(name))
        self._asked |= dict.fromkeys(questions, asked)
        said: dict[str, dict[str, Label]] = {name: self._known(asked, name, "judged", "fast") for name in questions}
        left = [t for t in trace_ids if any(t not in known for known in said.values())]
        self.reused += len(trace_ids) - len(left)
        answers = await self._ask(asked, left, "fast", "whole")
        for name in questions:
            fresh = [self._judgement(t, name, answers[t], asked, "judged", "fast") for t in left if t not in said[name]]
            labels.save(self.corpus, fresh, f"{len(fresh)}/{min(left, default='')}")
            said[name] |= {label.trace_id: label for label in fresh}
        if gold:
            await self.again(asked, {name: list(said[name].values()) for name in questions}, gold)
        return {"rows": [_row(said[name][t]) for name in questions for t in trace_ids if t in said[name]]}

    async def ensure_gold(self, name: str, n: int) -> None:
        """Read gold for a yes/no label of this run that has none."""
        asked = self._asked.get(name)
        if asked is None or "yes" not in asked.choices:
            return
        gold = self.corpus.con.execute(
            "SELECT 1 FROM labels WHERE name = ? AND kind IN ('gold', 'human') LIMIT 1", [name]
        ).fetchall()
        if not gold:
            await self.again(asked, {name: list(self._known(asked, name, "judged", "fast").values())}, n)

    async def again(self, asked: Asked, judged: Mapping[str, Sequence[Label]], n: int) -> None:
        """Have traces of yes/no labels read again by the strong model, each once for all the labels it is chosen for.

        Only the answers to the questions that a trace was chosen for become gold: see labels.second_readings.
        """
        chosen = {name: labels.second_readings(said, n) for name, said in judged.items()}
        names = [name for name, ids in chosen.items() if ids]
        if not names:
            return
        questions = {name: dict(asked.questions)[name] for name in names}
        pooled = replace(
            asked, schema=schemas.answer(questions, list(asked.choices)), questions=tuple(questions.items())
        )
        known = {name: self._known(pooled, name, "gold", "strong") for name in names}
        left = {name: [t for t in chosen[name] if t not in known[name]] for name in names}
        answers = await self._ask(
            pooled, list(dict.fromkeys(t for name in names for t in left[name])), "strong", "again"
        )
        for name in names:
            fresh = [self._judgement(t, name, answers[t], pooled, "gold", "strong") for t in left[name]]
            labels.save(self.corpus, fresh, "gold")

    async def extract(
        self, schema: dict[str, Any], name: str, question: str, trace_ids: list[str], show: list[str]
    ) -> dict[str, Any]:
        """One row per trace. Raises GatewayRefused as classify does."""
        asked = Asked(schemas.quoted(schemas.closed(schema)), tuple(show), question=question)
        reading.check_show(self.corpus, show)
        labels.check_name(self.corpus, name, asked.hash())
        said = self._known(asked, name, "judged", "fast")
        left = [t for t in trace_ids if t not in said]
        self.reused += len(trace_ids) - len(left)
        answers = await self._ask(asked, left, "fast", "whole")
        fresh = [self._judgement(t, name, answers[t], asked, "judged", "fast") for t in left]
        labels.save(self.corpus, fresh, f"{len(fresh)}/{min(left, default='')}")
        said |= {label.trace_id: label for label in fresh}
        rows = [_row(said[t]) for t in trace_ids]
        return {"rows": [row | {"value": json.loads(row["value"]) if row["value"] else None} for row in rows]}

    async def summarize(
        self, question: str, texts: list[str] | None, trace_ids: list[str] | None, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        """One answer from many texts, in rounds: groups that fit, then the answers to them."""
        form = schemas.closed(schema) if schema else None
        if texts is None:
            asked = Asked(schemas.quoted(schemas.closed({"answer": "in a few sentences"})), question=question)
            found = await self._ask(asked, trace_ids or [], "fast", "whole")
            texts = [f"{t}: {a['answer']['answer']}" for t, a in found.items() if not isinstance(a, Unread)]
        if not texts:
            raise GatewayRefused("summarize has nothing to read", "give texts, or a cohort that is not empty")
        while True:
            groups = _groups(texts)
            last = len(groups) == 1
            requests = [self._texts_request(question, group, form if last else None, last) for group in groups]
            replies = await self._map(requests, "strong" if last else "fast")
            if last:
                answer = self._parsed(replies[0], form is not None)
                if isinstance(answer, Unread):
                    raise GatewayRefused(f"summarize got no answer: {answer.why}")
                return {"answer": answer}
            read = [a for a in (self._parsed(r, False) for r in replies) if not isinstance(a, Unread)]
            if not read or len(read) >= len(texts):
                raise GatewayRefused("summarize could not shorten the texts", "give fewer or shorter ones")
            texts = read

    async def _ask(self, asked: Asked, ids: list[str], tier: str, stage: Stage) -> dict[str, Any]:
        """trace_id -> the parsed answer, or Unread."""
        found: dict[str, Any] = {}
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            if self._shared is None:
                self._shared = shared_texts(self.corpus)
            opened = dict.fromkeys(some, NOTHING) | openings(self.corpus, some, self._shared)
            texts = {t: reading.reading(self.corpus, t, asked.show, opened[t].letters) for t in some}
            found |= {t: Unread("it has no text") for t, text in texts.items() if not text.parts}
            found |= {t: Unread(f"it is longer than {reading.MOST_PARTS} parts of {reading.PART_TOKENS} tokens")
                      for t, text in texts.items() if len(text.parts) > reading.MOST_PARTS}  # fmt: skip
            places = [(t, i) for t in some if t not in found for i in range(len(texts[t].parts))]
            # those that begin alike stand together, so that the provider's cache holds what they share
            places.sort(key=lambda place: opened[place[0]].text)
            requests = [
                self._request(asked, texts[t].parts[i], tier, stage, opened[t].text, i, len(texts[t].parts))
                for t, i in places
            ]
            replies = dict(zip(places, await self._map(requests, tier), strict=True))
            whole = {t: self._parsed(replies[t, 0]) for t in some if t not in found and len(texts[t].parts) == 1}
            cut = {
                t: [self._parsed(replies[t, i]) for i in range(len(texts[t].parts))]
                for t in some
                if t not in found and t not in whole
            }
            found |= whole | await self._combined(asked, cut, {t: texts[t].context for t in cut}, tier)
            self.read += len(some)
            self.tell(f"read {min(start + AT_ONCE, len(ids))} of {len(ids)} traces ({tier})")
        return found

    async def _combined(
        self, asked: Asked, notes: dict[str, list[Any]], contexts: dict[str, str], tier: str
    ) -> dict[str, Any]:
        """One answer from the notes on the parts of each trace; Unread where not one part could be read."""
        found: dict[str, Any] = {t: said[0] for t, said in notes.items() if all(isinstance(n, Unread) for n in said)}
        left = [t for t in notes if t not in found]
        requests = []
        for t in left:
            lines = [
                f"part {i} of {len(notes[t])}: {'not read: ' + n.why if isinstance(n, Unread) else json.dumps(n, ensure_ascii=False)}"
                for i, n in enumerate(notes[t], 1)
            ]
            requests.append(self._request(asked, "\n".join([contexts[t], *lines]), tier, "combine"))
        replies = await self._map(requests, tier)
        return found | {t: self._parsed(reply) for t, reply in zip(left, replies, strict=True)}

    def _request(
        self, asked: Asked, text: str, tier: str, stage: Stage, opening: str = "", part: int = 0, parts: int = 1
    ) -> Request:
        system = self.role.render(
            stage=stage, part=parts > 1, questions=dict(asked.questions), choices=asked.choices, question=asked.question,
            opening=self.marks.around(opening, "opening") if opening else "",
        )  # fmt: skip
        note = f"Part {part + 1} of {parts}.\n" if parts > 1 else ""
        message = Message("user", note + self.marks.around(text, "trace"))
        name = "part" if parts > 1 else stage
        return Request(system, (message,), OUTPUT_TOKENS, f"judge ({name})", schema=asked.schema)

    def _texts_request(self, question: str, texts: list[str], form: dict[str, Any] | None, last: bool) -> Request:
        system = self.role.render(stage="texts", part=False, questions={}, choices=(), question=question, opening="")
        message = Message("user", self.marks.around("\n".join(f"- {text}" for text in texts), "texts"))
        return Request(system, (message,), OUTPUT_TOKENS, "judge (texts)", schema=form)

    async def _map(self, requests: list[Request], tier: str) -> list[Reply | ModelError]:
        model: Metered = self.tiers[tier]
        return await map_calls(model, requests, concurrency=self.tiers.concurrency)

    def _parsed(self, reply: Reply | ModelError, structured: bool = True) -> Any:
        if isinstance(reply, ModelError):
            return Unread(type(reply).__name__ + ": " + reply.message[:160])
        if reply.stop != "end" or (structured and reply.parsed is None):
            return Unread(
                {"refusal": "the model declined", "length": "the answer was cut off"}.get(reply.stop, reply.stop)
            )
        return reply.parsed if structured else reply.text

    def _judgement(self, trace_id: str, name: str, answer: Any, asked: Asked, kind: Any, tier: str) -> Label:
        """The label of a trace; unjudged (value NULL, the reason as explanation) when its quotation does not stand."""
        of_many = bool(asked.questions)
        value = seq = quote = why = None
        if isinstance(answer, Unread):
            why = answer.why
        else:
            one = answer[name] if of_many else answer
            value, why = (one["value"], one["why"]) if of_many else (json.dumps(one["answer"]), None)
            place = find_quote(self.corpus, trace_id, one["seq"], one["quote"])
            if value == schemas.CANNOT_TELL:
                value, why = None, f"{schemas.CANNOT_TELL}: {why}"
            elif place is not None:
                seq, quote = place
            elif not (of_many and value in NOTHING_TO_QUOTE):
                value, why = None, "the quotation does not stand in the trace"
        if value is None:
            self.unjudged[(why or "").split(":")[0]] += 1
        code = asked.hash(name if of_many else None)
        return Label(trace_id, name, value, kind, seq, quote, why, self.tiers[tier].name, code, self.run_id)

    def _known(self, asked: Asked, name: str, kind: Any, tier: str) -> dict[str, Label]:
        """Labels that the same model gave before."""
        code, model = asked.hash(name if asked.questions else None), self.tiers[tier].name
        rows = labels.judged(self.corpus, name, code, kind)
        return {
            t: Label(t, name, r["value"], kind, r["seq"], r["quote"], r["explanation"], model, code, self.run_id)
            for t, r in rows.items()
            if r["model"] == model
        }


def _row(label: Label) -> dict[str, Any]:
    row = {"trace_id": label.trace_id, "name": label.name, "value": label.value, "seq": label.seq, "quote": label.quote}
    told = label.explanation
    return row | (
        {"explanation": told, "unjudged": None} if label.value is not None else {"explanation": None, "unjudged": told}
    )


def _groups(texts: list[str]) -> list[list[str]]:
    """The texts in order, in groups that a model reads together; a text longer than a group is cut, and says so."""
    from primitives.tokens import count_tokens

    groups: list[list[str]] = [[]]
    used = 0
    for text in texts:
        kept = text if len(text) <= TEXTS_TOKENS else text[:TEXTS_TOKENS] + "… (cut)"
        size = count_tokens(kept)
        if groups[-1] and used + size > TEXTS_TOKENS:
            groups.append([])
            used = 0
        groups[-1].append(kept)
        used += size
    return groups
