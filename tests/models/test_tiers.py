"""The strong and the fast model, from configuration to calls."""

from __future__ import annotations

import asyncio

import pytest

from insights.config import settings
from insights.errors import ModelError, UsageError
from insights.models import Tiers, open_tiers
from tests.models.conftest import PRICES, ask


def section(**models):
    return settings({"models": models}, start=None)["models"]


def test_no_model_is_named(tmp_path):
    assert open_tiers(section(), tmp_path / "calls.sqlite") is None


def test_two_tiers_on_one_ledger(serve, tmp_path):
    server = serve([{"text": "Yes."}])
    chosen = section(strong="openai/known", fast="openai/small", base_url=f"{server.url}/v1", prices=PRICES)
    with open_tiers(chosen, tmp_path / "calls.sqlite") as tiers:
        tiers.ready()
        for tier in ("strong", "fast"):
            assert asyncio.run(tiers[tier].complete(ask())).text == "Yes."
        assert {row["model"]: row["calls"] for row in tiers.ledger.totals()} == {"openai/known": 1, "openai/small": 1}
        with pytest.raises(UsageError, match="strong or fast"):
            tiers["medium"]
    assert [body["model"] for body in server.bodies] == ["known", "small"]
    assert server.bodies[0]["messages"][0]["role"] == "system"


def test_one_model_serves_both_tiers(serve, tmp_path):
    server = serve([{"text": "Yes."}])
    for names in ({"strong": "anthropic/known"}, {"fast": "anthropic/known"}):
        with open_tiers(section(base_url=server.url, **names), tmp_path / "calls.sqlite") as tiers:
            assert tiers["strong"] is tiers["fast"] and tiers["fast"].model.model.server.url == server.url


def test_the_base_url_is_that_of_the_openai_model(serve, tmp_path, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    chosen = section(strong="anthropic/known", fast="openai/small", base_url="http://127.0.0.1:9/v1")
    with open_tiers(chosen, tmp_path / "calls.sqlite") as tiers:
        assert tiers["strong"].model.model.server.url == "https://api.anthropic.com"
        assert tiers["fast"].model.model.server.url == "http://127.0.0.1:9/v1"


def test_a_budget_in_money_needs_both_prices_and_lets_go_of_the_run(tmp_path):
    chosen = section(strong="openai/known", fast="openai/unpriced", budget_usd=5.0, prices=PRICES)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"price of openai/unpriced is unknown"):
            open_tiers(chosen, tmp_path / "calls.sqlite")


@pytest.mark.parametrize("redact", [True, False])
def test_secrets_are_masked_before_they_are_sent_unless_told_otherwise(serve, tmp_path, redact):
    server = serve([{"text": "Yes."}])
    chosen = section(strong="openai/known", base_url=f"{server.url}/v1", redact=redact)
    with open_tiers(chosen, tmp_path / "calls.sqlite") as tiers:
        asyncio.run(tiers["strong"].complete(ask("export GITHUB_TOKEN=ghp_" + "a1" * 20)))
        assert tiers.masked == redact
    assert ("[masked: access token]" in server.bodies[0]["messages"][1]["content"]) == redact


def test_a_setting_that_does_not_exist():
    with pytest.raises(UsageError, match="unknown setting 'temperature'"):
        section(temperature=0)


def test_tiers_without_configuration(tmp_path):
    from insights.models import ScriptedModel

    with Tiers(ScriptedModel(["a"]), ScriptedModel(["b"]), tmp_path / "calls.sqlite") as tiers:
        assert asyncio.run(tiers["fast"].complete(ask())).text == "b"
