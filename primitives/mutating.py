"""Whether a tool changes something outside of the conversation, judged by its name."""

from __future__ import annotations

import re
from functools import lru_cache

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CHANGES = _words("""
    accept activate add append apply approve archive assign block book buy cancel change charge clear close commit
    confirm copy create deactivate decline delete deliver deploy disable dismiss drop edit enable enroll exchange
    execute forward grant insert install invite issue kill like lock mark merge modify move notify order pay
    place post publish purchase push put refuel refund reject release remove rename reorder replace reply resend
    reserve reset restart restore resume return revoke save schedule send set share signup start stop submit
    subscribe suspend terminate toggle transfer uninstall unlock unsubscribe update upgrade upload withdraw write
""")
READS = _words("""
    analyze browse calculate check compare compute count describe detect echo estimate explain fetch find get grep
    inspect is list look lookup parse peek ping preview print query read retrieve scan scroll search select show
    think validate verify view whoami
""")


@lru_cache(maxsize=8192)
def is_mutating(name: str) -> bool:
    """True where the first telling word of the name is a verb of change: `update_order`, `sendEmail`, `api.users.delete`.

    Unknown verbs count as not mutating.
    """
    for word in WORD.findall(name.replace("_", " ")):
        low = word.lower()
        if low in READS:
            return False
        if low in CHANGES:
            return True
    return False
