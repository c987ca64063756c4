"""What the customers of the simulated support desk want, and the state of the shop that each task calls right."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from insights.demo.shop import REFUND_DAYS, Customer, Item, Order

Want = Literal["refund", "return_all", "warranty", "cancel", "address", "several"]

WEIGHTS: dict[Want, int] = {"refund": 32, "return_all": 13, "warranty": 16, "cancel": 15, "address": 12, "several": 12}
LINES = {
    "Alder": ("wireless earbuds", "soundbar", "turntable", "desk speaker", "studio headphones"),
    "Birch": ("espresso machine", "milk frother", "burr grinder", "kettle", "pour-over stand"),
    "Cedar": ("trail backpack", "rain jacket", "headlamp", "camp stove", "sleeping pad"),
    "Dune": ("desk lamp", "monitor arm", "keyboard", "footrest", "cable tray"),
    "Elm": ("cordless drill", "jigsaw", "work light", "socket set", "laser level"),
}
REFUSED_LINE = "Alder"
LINE_WEIGHTS = (30, 18, 18, 17, 17)
FIRST = (
    "Amara Bo Chiara Dmitri Elif Farid Greta Hana Ivo Jules Kofi Lena Mateo Noor Olga Piet Quinn Rosa Sami Tove".split()
)
LAST = "Okafor Lindqvist Romano Petrov Kaya Haddad Vogel Sato Novak Martin Mensah Weiss Ruiz Aziz Ivanova Smit Byrne".split()
STREETS = ("Mill Lane", "Harbour Road", "Station Street", "Orchard Close", "Kiln Row", "Abbey Walk", "Quarry Hill")
TOWNS = ("Leeds LS2", "Bristol BS1", "Galway H91", "Utrecht 3511", "Aarhus 8000", "Ghent 9000", "Porto 4000")


@dataclass(frozen=True, slots=True)
class Task:
    """`wanted` is the set of changes (as Shop.changes gives them) with which the task counts as solved."""

    id: str
    want: Want
    today: date
    customer: Customer
    order: Order
    other_order: Order
    targets: tuple[Item, ...]  # the items that the customer speaks of
    wanted: frozenset[tuple[str, ...]]
    gift: bool = False
    mistyped: float = 0.1  # chance that the customer first mistypes the e-mail address
    address: str = ""
    misgraded: bool = False  # the planted defect of the grader


def make_tasks(n: int, rng: random.Random) -> list[Task]:
    """`n` tasks; the kinds come in fixed shares, so that every planted fault has its occasions. One is misgraded."""
    wants = list(WEIGHTS)
    kinds = [wants[i] for i in range(len(wants)) for _ in range(max(1, round(n * WEIGHTS[wants[i]] / 100)))][:n]
    kinds += ["refund"] * (n - len(kinds))
    rng.shuffle(kinds)
    numbers = sorted(rng.sample(range(10_000, 100_000), n))
    tasks = [_task(f"desk-{number}", want, rng) for number, want in zip(numbers, kinds, strict=True)]
    plain = [i for i, t in enumerate(tasks) if t.want == "refund" and _easy_refund(t)]
    if plain:
        at = rng.choice(plain)
        tasks[at] = _misgrade(tasks[at])
    return tasks


def _easy_refund(t: Task) -> bool:
    return (
        bool(t.wanted) and t.order.card_open and t.targets[0].line != REFUSED_LINE and len(t.order.items) in (2, 3, 4)
    )


def _misgrade(t: Task) -> Task:
    """The same task with another item of the order in the answer key than the one the customer asks for."""
    other = next(i for i in t.order.items if i not in t.targets)
    return replace(t, wanted=frozenset({("refunded", other.id)}), misgraded=True)


def _task(name: str, want: Want, rng: random.Random) -> Task:
    today = date(2026, 3, 2) + timedelta(rng.randrange(56))
    age = rng.randint(2, REFUND_DAYS - 4)
    n_items = rng.randint(3, 9) if want == "return_all" else rng.choices((1, 2, 3, 4), (2, 4, 3, 2))[0]
    status = "processing" if want in ("cancel", "address") else "delivered"
    if want == "several":
        n_items, status = rng.randint(3, 5), "processing"
    late = want == "refund" and rng.random() < 0.16
    placed = today - timedelta(rng.randint(40, 120) if late else age)
    if want == "cancel":
        n_items = max(2, n_items)
    order = _order(rng, today, placed, status, n_items, want)
    gift = want == "warranty" and rng.random() < 0.45
    targets = _targets(rng, want, order)
    address = (
        f"{rng.randint(1, 180)} {rng.choice(STREETS)}, {rng.choice(TOWNS)}" if want in ("address", "several") else ""
    )
    return Task(
        id=name,
        want=want,
        today=today,
        customer=_customer(rng),
        order=order,
        other_order=_order(
            rng, today, placed - timedelta(rng.randint(60, 300)), "delivered", rng.randint(1, 3), "refund"
        ),
        targets=targets,
        wanted=_wanted(want, order, targets, today, late, address),
        gift=gift,
        mistyped=0.62 if want == "several" else 0.08,
        address=address,
    )


def _targets(rng: random.Random, want: Want, order: Order) -> tuple[Item, ...]:
    if want == "return_all" or (want == "cancel" and rng.random() < 0.5):
        return order.items
    return (rng.choice(order.items),)


def _wanted(
    want: Want, order: Order, targets: tuple[Item, ...], today: date, late: bool, address: str
) -> frozenset[tuple[str, ...]]:
    if want == "warranty":
        return frozenset(("replaced", i.id) for i in targets if i.warranty_until >= today)
    if want == "cancel":
        return frozenset(("cancelled", i.id) for i in targets)
    if want == "address":
        return frozenset({("ship_to", order.id, address)})
    if want == "several":
        return frozenset({("cancelled", targets[0].id), ("ship_to", order.id, address)})
    return frozenset() if late else frozenset(("refunded", i.id) for i in targets)


def _order(rng: random.Random, today: date, placed: date, status: str, n_items: int, want: Want) -> Order:
    number = f"W{rng.randint(10**6, 10**7 - 1)}"
    pairs = [(line, thing) for line in LINES for thing in LINES[line]]
    weights = [w for w in LINE_WEIGHTS for _ in range(5)]
    if want == "return_all":  # a whole order of the refused line would be two faults at once
        weights = [0 if line == REFUSED_LINE else 1 for line, _ in pairs]
    chosen: list[tuple[str, str]] = []
    while len(chosen) < n_items:
        pair = rng.choices(pairs, weights)[0]
        if pair not in chosen:
            chosen.append(pair)
    items = tuple(
        Item(
            id=f"{number}-{i + 1}",
            line=line,
            name=f"{line} {thing}",
            price=rng.randint(15, 320) - 0.05,
            warranty_until=today + timedelta(rng.randint(40, 600))
            if rng.random() < 0.75
            else today - timedelta(rng.randint(10, 200)),
        )
        for i, (line, thing) in enumerate(chosen)
    )
    ship_to = f"{rng.randint(1, 180)} {rng.choice(STREETS)}, {rng.choice(TOWNS)}"
    card_open = not (want == "refund" and items[0].line != REFUSED_LINE and rng.random() < 0.35)
    carrier_up = not (want == "address" and rng.random() < 0.6)
    return Order(number, placed, status, ship_to, card_open, carrier_up, items)


def _customer(rng: random.Random) -> Customer:
    first, last = rng.choice(FIRST), rng.choice(LAST)
    email = f"{first}.{last}{rng.randint(1, 99)}@{rng.choice(('mailbox', 'postal', 'inbox'))}.example".lower()
    return Customer(
        f"C{rng.randint(10**5, 10**6 - 1)}", f"{first} {last}", email, f"+44 7{rng.randint(10**8, 10**9 - 1)}"
    )
