"""Rules: detectors that a user writes in YAML, run by finite automata with counters.

    rules:
      refund_before_lookup:
        line: a refund is made before the order was looked up
        severity: high
        absent: get_order
        before: refund_*
      stubborn:
        repeat: "@call result(error)"
        times: 3
        same: args
        within: 20

Operators (a rule has exactly one; terms are in terms.py):

    seq: [a, not b, c]   a, then c, with no b in between; within: N events; same: args binds all items
    repeat: a            times: N (2); within: N events; same: args | hash | prefix | name
    cycle: [a, b]        one after the other, rounds: N (3), calls or results that fit neither end it
    absent: a            before: b (at each b with no a so far) or after: b (no a from b on); until: c (else the end)
    count: a             at_least: N, or at_most: N (judged at the end); since: b starts the count again
    ratio: a             of: b, above: 0.5, at_least: N of b (10); judged at the end

`same`: args = equal arguments, hash = equal arguments and equal text, prefix = equal first 40 characters of the
arguments, name = the same tool. Every match gives the step where it ended and the step where it began.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from primitives.detectors.terms import RuleNotUnderstood, Term, parse

if TYPE_CHECKING:
    from typing import Self

OPERATORS = {
    "seq": {"within", "same"},
    "repeat": {"times", "within", "same"},
    "cycle": {"rounds"},
    "absent": {"before", "after", "until"},
    "count": {"at_least", "at_most", "since"},
    "ratio": {"of", "above", "at_least"},
}
Same = Literal["args", "hash", "prefix", "name"]


class Rule(BaseModel):
    """One rule as written. Unknown keys, none or several operators, and terms that cannot be read are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")
    line: str = ""
    severity: Literal["info", "low", "medium", "high"] = "medium"
    seq: list[str] | None = Field(None, min_length=2, max_length=20)
    repeat: str | None = None
    cycle: list[str] | None = Field(None, min_length=2, max_length=8)
    absent: str | None = None
    count: str | None = None
    ratio: str | None = None
    times: int | None = Field(None, ge=2, le=1_000)
    rounds: int | None = Field(None, ge=2, le=1_000)
    within: int | None = Field(None, ge=1, le=100_000)
    same: Same | None = None
    before: str | None = None
    after: str | None = None
    until: str | None = None
    since: str | None = None
    of: str | None = None
    above: float | None = Field(None, ge=0, le=1)
    at_least: int | None = Field(None, ge=1)
    at_most: int | None = Field(None, ge=0)

    @property
    def operator(self) -> str:
        return next(name for name in OPERATORS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [name for name in OPERATORS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no operator'}; a rule has one of {', '.join(OPERATORS)}")
        operator = given[0]
        every = set.union(*OPERATORS.values())
        for key in sorted(every - OPERATORS[operator]):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"{key} does not go with {operator}; it takes {', '.join(sorted(OPERATORS[operator]))}"
                )
        needed = {"absent": ("before", "after"), "count": ("at_least", "at_most"), "ratio": ("of",)}.get(operator)
        if needed and sum(getattr(self, key) is not None for key in needed) != 1:
            raise ValueError(f"{operator} needs {' or '.join(needed)} (one)")
        if operator == "absent" and self.before is not None and self.until is not None:
            raise ValueError("until goes with absent … after, not with before")
        for text in self.terms():
            parse(text)
        return self

    def terms(self) -> list[str]:
        single = (
            self.repeat,
            self.absent,
            self.count,
            self.ratio,
            self.before,
            self.after,
            self.until,
            self.since,
            self.of,
        )
        listed = [item.removeprefix("not ") for item in (*(self.seq or ()), *(self.cycle or ()))]
        return [*listed, *(text for text in single if text is not None)]


def load_rules(source: str | Path) -> list[Rule]:
    """Rules of a YAML file, or of YAML text that holds a line break. Raises RuleNotUnderstood with the rule's name."""
    import yaml

    place, text = ("the text", source) if isinstance(source, str) and "\n" in source else (str(source), None)
    try:
        content = yaml.safe_load(text if text is not None else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise RuleNotUnderstood(f"{place} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RuleNotUnderstood(f"{place} is no YAML: {' '.join(str(error).split())}") from error
    rules = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(rules, dict) or not rules:
        raise RuleNotUnderstood(f"{place}: expected `rules:` with a mapping of names to rules below it")
    return [_rule(str(name), body, place) for name, body in rules.items()]


def _rule(name: str, body: object, place: str) -> Rule:
    if not isinstance(body, dict):
        raise RuleNotUnderstood(f"{place}: rule {name} is no mapping")
    try:
        return Rule(name=name, **{str(k): v for k, v in body.items()})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RuleNotUnderstood(f"{place}: rule {name}: {where + ': ' if where else ''}{message}") from error


__all__ = ["OPERATORS", "Rule", "RuleNotUnderstood", "Term", "load_rules"]
