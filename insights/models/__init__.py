"""Calls to language models: two vendors, any compatible server, a script or a recording; metered.

    with open_tiers(settings()["models"], run / "calls.sqlite") as tiers:
        request = Request(system=…, messages=(Message("user", …),), max_tokens=1000, role="scout", schema=…)
        reply = await tiers["strong"].complete(request)
        replies = await map_calls(tiers["fast"], requests, concurrency=tiers.concurrency)

Importing this loads no SDK. Every failure is a ModelError with a remedy; what a model did wrong is data
in its Reply. A killed run goes on from its calls.sqlite: what was answered is not asked again.
"""

from insights.models.budget import Budget
from insights.models.estimates import estimate
from insights.models.ledger import Ledger, read_totals
from insights.models.limits import Limits
from insights.models.mapping import map_calls
from insights.models.messages import Call, Message, Model, Reply, Request, Tool, Usage
from insights.models.metered import Metered
from insights.models.opening import open_model
from insights.models.prices import Price, price_of
from insights.models.redaction import Redacted
from insights.models.replay import Recorder, ReplayModel
from insights.models.scripted import ScriptedModel
from insights.models.tiers import Tiers, open_tiers

__all__ = [
    "Budget",
    "Call",
    "Ledger",
    "Limits",
    "Message",
    "Metered",
    "Model",
    "Price",
    "Recorder",
    "Redacted",
    "ReplayModel",
    "Reply",
    "Request",
    "ScriptedModel",
    "Tiers",
    "Tool",
    "Usage",
    "estimate",
    "map_calls",
    "open_model",
    "open_tiers",
    "price_of",
    "read_totals",
]
