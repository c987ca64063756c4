"""The models of a run as configured: a strong one and a fast one, under one ledger and one budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insights.errors import UsageError
from insights.models.budget import Budget
from insights.models.ledger import Ledger
from insights.models.limits import Limits
from insights.models.messages import Model
from insights.models.metered import Metered
from insights.models.opening import open_model
from insights.models.redaction import Redacted

SETTINGS = ("timeout", "deadline", "max_retries", "effort", "protocol", "prices")


class Tiers:
    """`tiers["strong"]` and `tiers["fast"]` are Metered models; one and the same where only one is named.

    `path` is the run's calls.sqlite. Close it, or use it in a `with`, to let another process go on with the run.
    """

    def __init__(
        self,
        strong: Model,
        fast: Model | None,
        path: Path,
        *,
        usd: float | None = None,
        tokens: int | None = None,
        limits: Limits | None = None,
        concurrency: int = 16,
    ) -> None:
        self.ledger = Ledger(path)
        self.concurrency = concurrency
        try:
            self.budget = Budget(self.ledger, usd=usd, tokens=tokens)
            self.strong = Metered(strong, self.budget, limits)
            self.fast = Metered(fast, self.budget, limits) if fast is not None else self.strong
        except BaseException:
            self.ledger.close()
            raise

    def __getitem__(self, tier: str) -> Metered:
        """Raises UsageError for a tier that is neither strong nor fast."""
        if tier not in ("strong", "fast"):
            raise UsageError(f"no model tier is called {tier!r}", "strong or fast")
        return self.strong if tier == "strong" else self.fast

    @property
    def masked(self) -> int:
        """How many secrets were masked before text was sent."""
        models = {id(metered.model): metered.model for metered in (self.strong, self.fast)}.values()
        return sum(model.masked for model in models if isinstance(model, Redacted))

    def ready(self) -> None:
        """Raises ModelUnavailable when a key is missing. Sends nothing."""
        self.strong.ready()
        self.fast.ready()

    def close(self) -> None:
        self.ledger.close()

    def __enter__(self) -> Tiers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tiers(section: Mapping[str, Any], path: Path) -> Tiers | None:
    """The models of the `models` section of the settings; None when it names none, and playbooks do the work.

    `base_url` is the server of the openai models, or of the anthropic ones where no openai model is named.
    """
    strong, fast = section["strong"] or section["fast"], section["fast"]
    if strong is None:
        return None
    names = [strong, fast or strong]
    served = "openai/" if any(name.startswith("openai/") for name in names) else "anthropic/"
    settings = {name: section[name] for name in SETTINGS if section.get(name) is not None}

    def opened(name: str) -> Model:
        model = open_model(name, base_url=section["base_url"] if name.startswith(served) else None, **settings)
        return Redacted(model) if section["redact"] else model

    return Tiers(
        opened(strong),
        opened(fast) if fast and fast != strong else None,
        path,
        usd=section["budget_usd"],
        tokens=section["max_tokens"],
        limits=Limits(section["requests_per_minute"], section["tokens_per_minute"]),
        concurrency=section["concurrency"],
    )
