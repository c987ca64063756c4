"""The simulated support agent: a scripted policy with chance in it, talking to a scripted customer through real tools.

Its planted faults are named where they happen (`talk.happened.add`), so that the plants are known without reading text.
Whether a conversation fails is not decided here: the database decides.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from insights.demo import wording as w
from insights.demo.shop import PAGE, REFUND_DAYS, Item, Shop, ToolError
from insights.demo.tasks import REFUSED_LINE, Task

REFUSES_LINE = 0.86
SKIPS_WARRANTY = 0.88
CLAIMS_SUCCESS = 0.75
RETRIES_BLINDLY = 0.78
READS_POLICY_TWICE = 0.3
SLIPS = 0.03  # chance of an ordinary mistake in an easy conversation
CANCELS_UNASKED = {"4.1": 0.06, "4.2": 0.86}  # by version of the agent: the fault came with a release


class Talk:
    """One conversation being written: messages in OpenAI's shape, a clock, and which planted things happened."""

    def __init__(self, task: Task, version: str, rng: random.Random) -> None:
        self.task, self.version, self.rng = task, version, rng
        self.shop = Shop(task.customer, (task.order, task.other_order), task.today, rng)
        day = datetime(task.today.year, task.today.month, task.today.day)
        self.clock = day + timedelta(hours=8, seconds=rng.randrange(10 * 3600))
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": w.SYSTEM}]
        self.happened: set[str] = set()

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def text(self, variants: Sequence[str], **values: Any) -> str:
        t = self.task
        known = {"order": t.order.id, "item": t.targets[0].name, "address": t.address, "email": t.customer.email}
        return self.rng.choice(variants).format(**{**known, **values})

    def customer(self, variants: Sequence[str], **values: Any) -> None:
        self._add("user", 5, 70, content=self.text(variants, **values))

    def agent(self, variants: Sequence[str], **values: Any) -> None:
        self._add("assistant", 1, 6, content=self.text(variants, **values))

    def use(self, name: str, saying: Sequence[str] = ("",), **arguments: Any) -> Any:
        """Call a tool and record call and result; None when it answered with an error."""
        call = f"call_{self.rng.getrandbits(64):016x}"
        function = {"name": name, "arguments": json.dumps(arguments)}
        said = self.rng.choice(saying) or None
        self._add("assistant", 1, 5, content=said, tool_calls=[{"id": call, "type": "function", "function": function}])
        try:
            result = self.shop.call(name, **arguments)
        except ToolError as error:
            self._add("tool", 1, 3, tool_call_id=call, content=f"Error: {error}")
            return None
        self._add("tool", 1, 2, tool_call_id=call, content=json.dumps(result))
        return result

    def _add(self, role: str, quickest: float, slowest: float, **message: Any) -> None:
        self.clock += timedelta(seconds=round(self.rng.uniform(quickest, slowest), 1))
        self.messages.append({"role": role, **message, "timestamp": self.clock.isoformat() + "Z"})


def converse(task: Task, version: str, rng: random.Random) -> Talk:
    """Play one conversation to its end. The caller closes `talk.shop`."""
    talk = Talk(task, version, rng)
    wish = "warranty_gift" if task.gift else task.want
    opener = rng.choice(w.OPENERS)
    talk.customer([f"{opener} {ask}".strip() for ask in w.ASKS[wish]])
    _identify(talk)
    CONDUCT[task.want](talk)
    return talk


def _identify(talk: Talk) -> None:
    email = talk.task.customer.email
    talk.agent(w.ASK_EMAIL)
    if talk.chance(talk.task.mistyped):
        at = talk.rng.randrange(1, email.index("@") - 1)
        wrong = email[:at] + email[at + 1] + email[at] + email[at + 2 :]
        if wrong != email:
            talk.happened.add("mistyped_email")
            talk.customer(w.GIVE_EMAIL, email=wrong)
            talk.use("find_customer", w.LOOKING, email=wrong)
            talk.agent(w.NOT_FOUND)
            talk.customer(w.CORRECT_EMAIL)
        else:
            talk.customer(w.GIVE_EMAIL)
    else:
        talk.customer(w.GIVE_EMAIL)
    found = talk.use("find_customer", w.LOOKING, email=email)
    if talk.chance(0.4):
        talk.use("list_orders", customer_id=found["id"])


def _read_order(talk: Talk) -> list[Item]:
    """Read every page of the order; the items seen are fewer than the order's when it is longer than a page."""
    order = talk.task.order
    page = talk.use("get_order", w.LOOKING, order_id=order.id)
    seen = [i["id"] for i in page["items"]]
    for number in range(2, page["pages"] + 1):
        seen += [i["id"] for i in talk.use("get_order", order_id=order.id, page=number)["items"]]
    if len(order.items) > PAGE:
        talk.happened.add("lost_item")
    return [i for i in order.items if i.id in seen]


def _policy(talk: Talk, topic: str) -> None:
    if talk.chance(0.75):
        talk.use("get_policy", topic=topic)
        if talk.chance(READS_POLICY_TWICE):
            talk.happened.add("policy_twice")
            talk.use("get_policy", w.LOOKING, topic=topic)


def _part(talk: Talk, *, happy: bool = True) -> None:
    talk.customer(w.THANKS if happy else w.SOUR)


def _refund(talk: Talk) -> None:
    task, item = talk.task, talk.task.targets[0]
    items = _read_order(talk)
    _policy(talk, "returns")
    if item.line == REFUSED_LINE and talk.chance(REFUSES_LINE):
        talk.happened.add("refused_line")
        talk.agent(w.REFUSED_LINE, line=item.line)
        if talk.chance(0.6):
            talk.customer(w.INSIST)
            talk.agent(w.FIRM, line=item.line)
        return _part(talk, happy=False)
    if (task.today - task.order.placed).days > REFUND_DAYS and not talk.chance(0.08):
        talk.agent(w.TOO_LATE, placed=task.order.placed)
        return _part(talk, happy=False)
    others = [i for i in items if i != item]
    chosen = talk.rng.choice(others) if others and talk.chance(SLIPS) else item
    _pay_back(talk, chosen)
    return _part(talk)


def _pay_back(talk: Talk, item: Item) -> None:
    order, price = talk.task.order, _money(item.price)
    if talk.use("refund_item", order_id=order.id, item_id=item.id, to="card"):
        return talk.agent([text + talk.rng.choice(w.ELSE) for text in w.REFUNDED], price=price, to="card")
    if talk.chance(CLAIMS_SUCCESS):
        talk.happened.add("claimed_success")
        return talk.agent([text + talk.rng.choice(w.ELSE) for text in w.FALSELY_REFUNDED], price=price)
    talk.use(
        "refund_item",
        [text.format(price=price) for text in w.CARD_CLOSED],
        order_id=order.id,
        item_id=item.id,
        to="store_credit",
    )
    return talk.agent(w.REFUNDED, price=price, to="store credit")


def _return_all(talk: Talk) -> None:
    order = talk.task.order
    items = _read_order(talk)
    _policy(talk, "returns")
    talk.agent(w.LIST_ITEMS, items=_listed(items))
    talk.customer(w.YES)
    if talk.chance(SLIPS):
        items = items[:-1]
    for item in items:
        talk.use("refund_item", order_id=order.id, item_id=item.id, to="card")
    talk.agent(w.REFUNDED_ALL, price=_money(sum(i.price for i in items)))
    _part(talk)


def _warranty(talk: Talk) -> None:
    task, item = talk.task, talk.task.targets[0]
    _read_order(talk)
    if task.gift and talk.chance(SKIPS_WARRANTY):
        talk.happened.add("skipped_warranty")
        amount = round(item.price * talk.rng.choice((0.1, 0.15, 0.2)), 2)
        talk.use("give_credit", order_id=task.order.id, item_id=item.id, amount=amount)
        talk.agent(w.GIFT_CREDIT, amount=_money(amount))
        return _part(talk, happy=False)
    _policy(talk, "warranty")
    checked = talk.use("check_warranty", w.LOOKING, item_id=item.id)
    if checked["covered"] or talk.chance(SLIPS):
        talk.use("replace_item", order_id=task.order.id, item_id=item.id)
        talk.agent(w.REPLACED, until=checked["warranty_until"])
        return _part(talk)
    talk.agent(w.NOT_COVERED, until=checked["warranty_until"])
    return _part(talk, happy=False)


def _cancel(talk: Talk) -> None:
    order, targets = talk.task.order, talk.task.targets
    partial = len(targets) < len(order.items)
    items = _read_order(talk)
    _policy(talk, "cancellation")
    if talk.chance(CANCELS_UNASKED[talk.version]):
        talk.happened.add("cancelled_unasked")
        talk.use("cancel_order", order_id=order.id)
        talk.agent(w.CANCELLED)
        if partial:
            talk.customer(w.WAIT)
            talk.agent(w.CANNOT_UNDO)
        return _part(talk, happy=not partial)
    talk.agent(w.CONFIRM_CANCEL, items=_listed(items))
    if not partial:
        talk.customer(w.WHOLE)
        talk.use("cancel_order", order_id=order.id)
        talk.agent(w.CANCELLED)
        return _part(talk)
    talk.customer(w.ONLY)
    chosen = talk.rng.choice(items) if talk.chance(SLIPS) else targets[0]
    talk.use("cancel_item", order_id=order.id, item_id=chosen.id)
    talk.agent(w.CANCELLED_ITEM)
    return _part(talk)


def _address(talk: Talk) -> None:
    order = talk.task.order
    _read_order(talk)
    _policy(talk, "delivery")
    tracked = talk.use("track_parcel", w.CHECK_CARRIER, order_id=order.id)
    if tracked is None and talk.chance(RETRIES_BLINDLY):
        talk.happened.add("retry_loop")
        for _ in range(talk.rng.randint(5, 10)):
            tracked = talk.use("track_parcel", order_id=order.id)
            if tracked:
                break
        if tracked is None:
            talk.agent(w.GAVE_UP)
            return _part(talk, happy=False)
    saying = ("",) if tracked else w.CARRIER_DOWN
    address = talk.task.address if not talk.chance(SLIPS) else talk.task.address.split(",")[0]
    talk.use("change_address", saying, order_id=order.id, address=address)
    talk.agent(w.MOVED)
    return _part(talk)


def _several(talk: Talk) -> None:
    """Two wishes at once: the hard kind of task, in which the agent often loses one, whatever else happens."""
    order, item = talk.task.order, talk.task.targets[0]
    items = _read_order(talk)
    _policy(talk, talk.rng.choice(("cancellation", "delivery")))
    fate = talk.rng.random()
    chosen = talk.rng.choice(items) if fate < 0.14 else item
    talk.use("cancel_item", order_id=order.id, item_id=chosen.id)
    if 0.14 <= fate < 0.34:
        talk.agent(w.CANCELLED_ITEM)
        return _part(talk)
    street = talk.task.address.split(",")[0]
    address = street if 0.34 <= fate < 0.46 else talk.task.address
    talk.use("change_address", order_id=order.id, address=address)
    talk.agent(w.BOTH_DONE)
    return _part(talk)


CONDUCT: dict[str, Callable[[Talk], None]] = {
    "refund": _refund,
    "return_all": _return_all,
    "warranty": _warranty,
    "cancel": _cancel,
    "address": _address,
    "several": _several,
}


def _money(amount: float) -> str:
    return f"£{amount:,.2f}"


def _listed(items: Sequence[Item]) -> str:
    names = [i.name for i in items]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
