"""The shop behind the simulated support desk: a small SQLite database and the tools that work on it.

Two defects are planted here, as they would be in a real backend: `get_order` loses an item of every order that is
longer than one page, and `track_parcel` fails while the carrier is down.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

PAGE = 5  # items of an order on one page
REFUND_DAYS = 30  # after the order date
SCHEMA = """
CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT);
CREATE TABLE orders (id TEXT PRIMARY KEY, customer_id TEXT, placed TEXT, status TEXT, ship_to TEXT, card_open INTEGER,
                     carrier_up INTEGER);
CREATE TABLE items (id TEXT PRIMARY KEY, order_id TEXT, line TEXT, name TEXT, price REAL, warranty_until TEXT,
                    state TEXT DEFAULT 'bought');
"""
POLICIES = {
    "returns": "Any item can be returned for a refund within 30 days of the order date, on every product line. The refund "
    "goes to the card used, or to store credit if the card cannot be credited.",
    "warranty": "Defective items inside their warranty are replaced free of charge, for the buyer and for whoever received "
    "the item as a present. Check the warranty date first. Outside warranty there is no replacement.",
    "cancellation": "Orders that have not shipped can be cancelled in whole or item by item. Repeat what will be cancelled "
    "and get a yes before cancelling: a cancellation cannot be undone.",
    "delivery": "The address of an order can be changed until it has been handed to the carrier.",
}


class ToolError(Exception):
    """What a tool answers when it cannot do what it was asked."""


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    line: str
    name: str
    price: float
    warranty_until: date


@dataclass(frozen=True, slots=True)
class Order:
    id: str
    placed: date
    status: str
    ship_to: str
    card_open: bool
    carrier_up: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    name: str
    email: str
    phone: str


class Shop:
    """One conversation's own copy of the shop. Tools are the methods named in TOOLS; they return JSON values."""

    def __init__(self, customer: Customer, orders: tuple[Order, ...], today: date, rng: random.Random) -> None:
        self.today = today
        self._rng = rng
        self._db = sqlite3.connect(":memory:")
        self._db.row_factory = sqlite3.Row
        self._db.executescript(SCHEMA)
        self._db.execute(
            "INSERT INTO customers VALUES (?, ?, ?, ?)", (customer.id, customer.name, customer.email, customer.phone)
        )
        for o in orders:
            row = (o.id, customer.id, o.placed.isoformat(), o.status, o.ship_to, o.card_open, o.carrier_up)
            self._db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._db.executemany(
                "INSERT INTO items (id, order_id, line, name, price, warranty_until) VALUES (?, ?, ?, ?, ?, ?)",
                [(i.id, o.id, i.line, i.name, i.price, i.warranty_until.isoformat()) for i in o.items],
            )
        self._addresses = {o.id: o.ship_to for o in orders}

    def close(self) -> None:
        self._db.close()

    def call(self, name: str, **arguments: Any) -> Any:
        """Run one tool. Raises ToolError with the text that the agent gets to see."""
        if name not in TOOLS:
            raise ToolError(f"unknown tool {name}")
        method: Callable[..., Any] = getattr(self, name)
        return method(**arguments)

    def changes(self) -> frozenset[tuple[str, ...]]:
        """What the conversation changed: (state, item) for items, ("ship_to", order, address) for addresses."""
        items = self._db.execute("SELECT id, state FROM items WHERE state <> 'bought'").fetchall()
        orders = self._db.execute("SELECT id, ship_to FROM orders").fetchall()
        moved = {("ship_to", o["id"], o["ship_to"]) for o in orders if o["ship_to"] != self._addresses[o["id"]]}
        return frozenset({(i["state"], i["id"]) for i in items} | moved)

    def find_customer(self, email: str) -> dict[str, Any]:
        """Find a customer account by e-mail address."""
        row = self._db.execute("SELECT * FROM customers WHERE email = ?", (email,)).fetchone()
        if row is None:
            raise ToolError(f"no customer with e-mail {email}")
        return dict(row)

    def list_orders(self, customer_id: str) -> list[dict[str, Any]]:
        """List the orders of a customer, newest first."""
        rows = self._db.execute(
            "SELECT id, placed, status, (SELECT count(*) FROM items WHERE order_id = orders.id) AS n_items "
            "FROM orders WHERE customer_id = ? ORDER BY placed DESC",
            (customer_id,),
        )
        return [dict(r) for r in rows]

    def get_order(self, order_id: str, page: int = 1) -> dict[str, Any]:
        """Read an order with its items, five to a page."""
        order = self._order(order_id)
        n = self._db.execute("SELECT count(*) FROM items WHERE order_id = ?", (order_id,)).fetchone()[0]
        skip = (page - 1) * PAGE + (page > 1)  # the planted defect: the first item of page two is never shown
        rows = self._db.execute(
            "SELECT id, line, name, price, state FROM items WHERE order_id = ? ORDER BY rowid LIMIT ? OFFSET ?",
            (order_id, PAGE, skip),
        )
        return {
            "order_id": order_id,
            "placed": order["placed"],
            "status": order["status"],
            "ship_to": order["ship_to"],
            "items": [dict(r) for r in rows],
            "page": page,
            "pages": -(-n // PAGE),
        }

    def get_policy(self, topic: str) -> dict[str, str]:
        """Read the store policy on a topic: returns, warranty, cancellation or delivery."""
        if topic not in POLICIES:
            raise ToolError(f"no policy on {topic}; there are {', '.join(POLICIES)}")
        return {"topic": topic, "text": POLICIES[topic]}

    def check_warranty(self, item_id: str) -> dict[str, Any]:
        """Look up until when an item is under warranty."""
        item = self._item(item_id)
        until = date.fromisoformat(item["warranty_until"])
        return {"item_id": item_id, "warranty_until": until.isoformat(), "covered": until >= self.today}

    def refund_item(self, order_id: str, item_id: str, to: str = "card") -> dict[str, Any]:
        """Refund one item to the card used or to store credit."""
        order, item = self._order(order_id), self._item(item_id)
        if to == "card" and not order["card_open"]:
            raise ToolError("payment provider declined the credit: account closed (code 54)")
        self._set(item_id, "refunded")
        return {"status": "refunded", "item_id": item_id, "amount": item["price"], "to": to}

    def replace_item(self, order_id: str, item_id: str) -> dict[str, Any]:
        """Send a replacement for a defective item free of charge."""
        self._order(order_id)
        self._item(item_id)
        self._set(item_id, "replaced")
        return {"status": "replacement ordered", "item_id": item_id, "ships": (self.today + timedelta(2)).isoformat()}

    def give_credit(self, order_id: str, item_id: str, amount: float) -> dict[str, Any]:
        """Give goodwill store credit for an item."""
        self._order(order_id)
        self._item(item_id)
        self._set(item_id, "credited")
        return {"status": "credited", "item_id": item_id, "amount": amount}

    def cancel_order(self, order_id: str) -> dict[str, Any]:
        """Cancel all items of an order that has not shipped."""
        order = self._order(order_id)
        if order["status"] != "processing":
            raise ToolError(f"order {order_id} is {order['status']} and cannot be cancelled")
        self._db.execute("UPDATE items SET state = 'cancelled' WHERE order_id = ?", (order_id,))
        return {"status": "cancelled", "order_id": order_id}

    def cancel_item(self, order_id: str, item_id: str) -> dict[str, Any]:
        """Cancel one item of an order that has not shipped."""
        order = self._order(order_id)
        if order["status"] != "processing":
            raise ToolError(f"order {order_id} is {order['status']} and cannot be cancelled")
        self._item(item_id)
        self._set(item_id, "cancelled")
        return {"status": "cancelled", "item_id": item_id}

    def track_parcel(self, order_id: str) -> dict[str, Any]:
        """Ask the carrier where the parcel of an order is."""
        order = self._order(order_id)
        if not order["carrier_up"] and self._rng.random() < 0.92:
            raise ToolError("503 carrier gateway timed out, try again later")
        return {"order_id": order_id, "handed_to_carrier": False, "depot": "Hall 4"}

    def change_address(self, order_id: str, address: str) -> dict[str, Any]:
        """Change the delivery address of an order not yet handed to the carrier."""
        self._order(order_id)
        self._db.execute("UPDATE orders SET ship_to = ? WHERE id = ?", (address, order_id))
        return {"status": "updated", "order_id": order_id, "ship_to": address}

    def _order(self, order_id: str) -> sqlite3.Row:
        row = self._db.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
        if row is None:
            raise ToolError(f"no order {order_id}")
        return row

    def _item(self, item_id: str) -> sqlite3.Row:
        row = self._db.execute("SELECT * FROM items WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            raise ToolError(f"no item {item_id}")
        return row

    def _set(self, item_id: str, state: str) -> None:
        self._db.execute("UPDATE items SET state = ? WHERE id = ?", (state, item_id))


TOOLS = (
    "find_customer", "list_orders", "get_order", "get_policy", "check_warranty", "refund_item", "replace_item",
    "give_credit", "cancel_order", "cancel_item", "track_parcel", "change_address",
)  # fmt: skip
