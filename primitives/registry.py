"""The list of verbs. A verb is a function of a corpus and keyword arguments; its docstring is its manual.

    @verb
    def sample(corpus, n=20, *, how="random", seed=0) -> pd.DataFrame: ...

Adding a file with a decorated function adds the verb to notebooks, kernels, the catalogue in prompts, the
README's table and the contract tests. A verb that spends money says `@verb(spends=True)`; one that acts
through the gateway (submits, saves, dispatches) says `@verb(acts=True)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    function: Callable[..., Any]
    spends: bool
    acts: bool


VERBS: dict[str, Verb] = {}


@overload
def verb(function: Callable[..., Any]) -> Callable[..., Any]: ...
@overload
def verb(*, spends: bool = ..., acts: bool = ...) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def verb(function: Callable[..., Any] | None = None, *, spends: bool = False, acts: bool = False) -> Any:
    """Register a function as a verb under its own name."""

    def register(f: Callable[..., Any]) -> Callable[..., Any]:
        VERBS[f.__name__] = Verb(f.__name__, f, spends, acts)
        return f

    return register(function) if function is not None else register
