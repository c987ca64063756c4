"""Fold logs in which each line repeats the conversation so far: one conversation, one model call a line.

A line continues a conversation when its messages begin with all that conversation holds, the last answer included (or
with all but that answer, which the line then tells in its own words). The same prompt asked again is another
conversation: five trials stay five. Lines that name different conversations are never folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from insights.corpus.formats.chat import flatten
from insights.corpus.parse import sequence
from insights.corpus.source import Record, Source

MORE = {"tool_calls", "arguments", "output", "input"}
MOST_OPEN = 256  # unit: conversations held while waiting for a line that continues them
NAMES = ("conversation_id", "session_id", "thread_id", "trace_id", "run_id", "custom_id", "task_id", "instance_id")


@dataclass
class Request:
    """One line: the messages it sent, the answer it got, and the line itself."""

    messages: list[Any]
    answer: list[Any]
    value: dict[str, Any]
    record: Record
    index: int = 0  # of the line in its source


@dataclass
class Conversation:
    """`messages` is the longest history; `calls` pairs each request with the index of its answer in `messages`."""

    name: str
    messages: list[Any] = field(default_factory=list)
    calls: list[tuple[int, Request]] = field(default_factory=list)
    record: Record = field(default_factory=lambda: Record(None))
    keys: tuple[tuple[str, int], ...] = ()

    @property
    def index(self) -> int:
        return self.calls[0][1].index

    @property
    def value(self) -> dict[str, Any]:
        return self.calls[-1][1].value


class Log:
    """Open conversations, at most `most_open` of them: the one longest untouched is handed over first."""

    def __init__(self, most_open: int = MOST_OPEN) -> None:
        self.n_folded, self.most_open = 0, most_open
        self._open: dict[int, Conversation] = {}
        self._heads: dict[tuple[str, int], Conversation] = {}
        self._asked: dict[tuple[str, int], Conversation] = {}

    def add(self, request: Request, *, apart: bool = False) -> list[Conversation]:
        """Take one line; gives the conversations that are finished by it. `apart`: never fold this line."""
        name = name_of(request.value)
        hashes = [] if apart else rolled(request.messages)
        found, known = self._continued(name, request.messages, hashes)
        if found is None:
            found = Conversation(name, record=request.record)
        else:
            self.n_folded += 1
        found.messages[known:] = [*request.messages[known:], *request.answer]
        found.calls.append((len(request.messages), request))
        if apart:
            return [found]
        self._remember(found, name, request, hashes[-1] if hashes else 0)
        if len(self._open) <= self.most_open:
            return []
        oldest = next(iter(self._open.values()))
        self._forget(oldest)
        return [oldest]

    def _remember(self, found: Conversation, name: str, request: Request, asked: int) -> None:
        self._forget(found)
        full = rolled(request.answer, asked)
        found.keys = ((name, full[-1] if full else asked), (name, asked))
        self._heads[found.keys[0]] = self._asked[found.keys[1]] = self._open[id(found)] = found

    def _forget(self, found: Conversation) -> None:
        self._open.pop(id(found), None)
        for table, key in zip((self._heads, self._asked), found.keys, strict=False):
            if table.get(key) is found:
                del table[key]

    def rest(self) -> list[Conversation]:
        """What is still open, in the order it was last touched."""
        left = list(self._open.values())
        self._open, self._heads, self._asked = {}, {}, {}
        return left

    def _continued(self, name: str, messages: list[Any], hashes: list[int]) -> tuple[Conversation | None, int]:
        for n in range(len(hashes), 0, -1):
            key = (name, hashes[n - 1])
            found = self._heads.get(key)
            if n == len(hashes):  # nothing new is asked: it goes on only where the last thing said was an answer
                found = found if found is not None and found.calls[-1][1].answer else None
            elif found is None and _role(messages[n]) == "assistant":
                found = self._asked.get(key)
            if found is not None:
                return found, n
        return None, 0


def log_of(source: Source) -> Log:
    """The log of a source; one of many files with a request each is in the order of their length, not of time."""
    return Log(max(MOST_OPEN, len(source.members)))


def shares(source: Source, request: Request | None) -> dict[str, Any]:
    """How a file that holds this one request alone goes on in other files: by its conversation's name and beginning.

    The file's place is the length of the history it sent. Files without a name for their conversation are told by their folder.
    """
    if request is None or not request.answer or not request.messages:
        return {}
    asked = next((i for i, m in enumerate(request.messages) if _role(m) == "user"), 0)
    name = name_of(request.value) or str(source.path.parent)
    return {f"request:{name}:{rolled(request.messages[: asked + 1])[-1]}": len(request.messages)}


def rolled(messages: list[Any], start: int = 0) -> list[int]:
    """A running hash after each message, over what was said and called (not over markers such as cache_control)."""
    out = []
    at = start
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str) and not message.keys() & MORE:
            said: Iterable[Any] = (str(message.get("role")), content)  # what _said gives, for the commonest message
        else:
            said = _said(message)
        at = hash((at, *said))
        out.append(at)
    return out


def _said(message: Any) -> Iterator[Any]:
    if not isinstance(message, dict):
        yield str(message)
        return
    yield _role(message)
    text, parts, _ = flatten(message.get("content"))
    yield text or ""
    for part in parts or ():
        if isinstance(part, dict) and part.get("type") in ("tool_use", "tool_result"):
            yield str(part.get("input") or part.get("content"))
    for key in ("arguments", "output", "input"):  # items of the Responses API
        if key in message:
            yield str(message[key])
    for call in sequence(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        yield str(function.get("arguments")) if isinstance(function, dict) else str(call)


def _role(message: Any) -> str:
    return str(message.get("role")) if isinstance(message, dict) else ""


def name_of(value: dict[str, Any]) -> str:
    """What the line says of the conversation it belongs to; "" where it says nothing."""
    meta = value.get("metadata")
    for holder in (value, meta if isinstance(meta, dict) else {}):
        found = [str(holder[key]) for key in NAMES if isinstance(holder.get(key), (str, int))]
        if found:
            return "\0".join(found)
    return ""
