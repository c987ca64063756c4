"""Cache, ledger and budget: the arithmetic, and that nothing is paid twice."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from insights.errors import AnswerLost, BudgetExhausted, ModelError, ModelUnavailable, UsageError
from insights.models import (
    Budget,
    Ledger,
    Limits,
    Metered,
    Price,
    Reply,
    ScriptedModel,
    Usage,
    estimate,
    map_calls,
    price_of,
    read_totals,
)
from insights.models.metered import input_ceiling
from insights.models.prices import Rates, parse_price
from tests.models.conftest import VERDICT, ask, connect

PRICE = Price(Rates(input=3, output=15, cached=0.3, cache_write=3.75))


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "run" / "calls.sqlite") as opened:
        yield opened


def answer(text="yes", tokens=(1000, 0, 100), **fields):
    usage = Usage(tokens[0], tokens[1], tokens[2], PRICE.cost(tokens[0], tokens[1], 0, tokens[2]))
    return Reply(text, usage=usage, **fields)


def metered(ledger, script, *, usd=None, tokens=None, price=PRICE, **options):
    model = ScriptedModel(script, price=price, **options)
    return Metered(model, Budget(ledger, usd=usd, tokens=tokens)), model


def test_the_same_request_is_asked_once_and_its_repeat_costs_nothing(ledger):
    model, script = metered(ledger, [answer()])
    first = asyncio.run(model.complete(ask()))
    again = asyncio.run(model.complete(ask(role="another")))
    assert not first.cached and again.cached and again.text == first.text and len(script.requests) == 1
    assert first.usage.usd == pytest.approx(0.0045) and again.usage.usd == 0
    assert again.usage.input_tokens == 1000, "the size of the answer is known still"
    rows = {row["role"]: row for row in ledger.totals()}
    assert rows["another"]["cached_calls"] == 1 and rows["another"]["usd"] == 0 and rows["another"]["input_tokens"] == 0
    assert ledger.cost()["usd"] == pytest.approx(0.0045) and ledger.cost()["calls"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Other."},
        {"max_tokens": 201},
        {"schema": {"type": "string"}},
        {"salt": "2"},
        {"messages": ask("Other?").messages},
    ],
)
def test_whatever_changes_an_answer_is_in_the_key(change):
    assert replace(ask(), **change).key("m") != ask().key("m") == replace(ask(), role="other").key("m")
    assert ask().key("m") != ask().key("another model")


def test_two_servers_of_one_name_do_not_share_answers(serve):
    one, two = (connect("chat", serve([]).url) for _ in range(2))
    assert one.name == two.name and ask().key(one.identity) != ask().key(two.identity)


def test_identical_requests_in_flight_are_asked_once(ledger):
    model, script = metered(ledger, [answer()], seconds=0.02)
    replies = asyncio.run(map_calls(model, [ask()] * 10, concurrency=10))
    assert len(script.requests) == 1 and [reply.text for reply in replies] == ["yes"] * 10
    assert sum(reply.cached for reply in replies) == 9
    assert ledger.cost()["usd"] == pytest.approx(0.0045)


def test_a_cancelled_caller_does_not_take_the_others_with_it(ledger):
    model, script = metered(ledger, lambda request: answer(), seconds=0.05)

    async def one_leaves():
        tasks = [asyncio.create_task(model.complete(ask())) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks[1].cancel()
        return await tasks[2]

    assert asyncio.run(one_leaves()).text == "yes" and len(script.requests) == 2
    states = [row[0] for row in read(ledger, "SELECT state FROM calls ORDER BY id")]
    assert states == ["lost", "done"]


def read(ledger, query):
    db = sqlite3.connect(ledger.path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_failures_are_not_cached_and_cost_nothing(ledger):
    model, script = metered(ledger, [ModelError("no"), answer()])
    with pytest.raises(ModelError):
        asyncio.run(model.complete(ask()))
    assert asyncio.run(model.complete(ask())).text == "yes" and len(script.requests) == 2
    assert read(ledger, "SELECT state, error, usd FROM calls")[0] == ("failed", "no", None)
    assert ledger.cost()["usd"] == pytest.approx(0.0045) and ledger.cost()["failed_calls"] == 1


def test_an_answer_that_was_lost_counts_in_full(ledger):
    model, _ = metered(ledger, [AnswerLost("gone")], usd=1.0)
    with pytest.raises(AnswerLost):
        asyncio.run(model.complete(ask()))
    most = PRICE.ceiling(input_ceiling(ask()), 200)
    assert ledger.spent().usd == ledger.spent().uncertain_usd == pytest.approx(most)
    assert model.budget.spent_usd == pytest.approx(most)


def test_overflow_is_asked_again_and_refusals_are_not(ledger):
    model, script = metered(ledger, [answer(stop="overflow"), answer(stop="refusal"), answer()])
    stops = [asyncio.run(model.complete(ask())).stop for _ in range(3)]
    assert stops == ["overflow", "refusal", "refusal"] and len(script.requests) == 2


def test_a_repair_is_a_call_of_its_own_and_both_are_cached(ledger):
    model, script = metered(ledger, ["nonsense", '{"verdict": "no", "why": "x"}'])
    for expected in (False, True):
        reply = asyncio.run(model.complete(ask(schema=VERDICT)))
        assert reply.parsed["verdict"] == "no" and reply.cached is expected
    assert len(script.requests) == 2
    assert {row["role"]: row["calls"] for row in ledger.totals()} == {"test": 2, "test (repair)": 2}


def test_an_answer_that_stayed_unusable_is_not_paid_again(ledger):
    model, script = metered(ledger, ["nonsense", "nonsense again"])
    for _ in range(2):
        with pytest.raises(ModelError, match="test"):
            asyncio.run(model.complete(ask(schema=VERDICT)))
    assert len(script.requests) == 2


def test_the_cap_holds_to_the_cent_under_concurrency(ledger):
    cost = PRICE.cost(900, 0, 200, 200)
    usage = Usage(900, 0, 200, cost)
    requests = [ask(f"question {i} " * 40) for i in range(300)]
    model, script = metered(ledger, lambda request: Reply("yes", usage=usage), usd=0.5, seconds=0.002)
    outcomes = asyncio.run(map_calls(model, requests, concurrency=64))
    refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExhausted)]
    spent = ledger.cost()["usd"]
    most = max(PRICE.ceiling(input_ceiling(request), 200) for request in requests)
    assert spent == pytest.approx((300 - len(refused)) * cost)
    assert 0.45 - most < spent <= 0.45, "bulk calls stop short of the tenth kept for closing turns, by one call at most"
    assert refused and "--budget-usd" in refused[0].remedy and len(script.requests) == 300 - len(refused)
    assert model.budget.wrap_up
    closing = asyncio.run(model.complete(ask("and in sum?")))
    assert closing.text == "yes" and ledger.cost()["usd"] <= 0.5


def test_the_very_last_cent(ledger):
    model, _ = metered(ledger, lambda request: answer(tokens=(700, 0, 200)), usd=0.05)

    async def until_refused():
        for i in range(1000):
            await model.complete(ask(str(i)))

    with pytest.raises(BudgetExhausted, match=r"\$0\.05 spent"):
        asyncio.run(until_refused())
    assert 0.05 - PRICE.ceiling(input_ceiling(ask("100")), 200) < ledger.cost()["usd"] <= 0.05


def test_answers_in_the_cache_are_given_when_the_budget_is_gone(ledger):
    model, _ = metered(ledger, lambda request: answer(), usd=1.0)
    asyncio.run(model.complete(ask()))
    model.budget.usd = 0.0
    outcomes = asyncio.run(map_calls(model, [ask(), ask("new")]))
    assert outcomes[0].cached and isinstance(outcomes[1], BudgetExhausted)


def test_a_token_budget_holds_where_no_price_is_known(ledger):
    model, _ = metered(ledger, lambda r: Reply("yes", usage=Usage(500, 0, 100)), tokens=20_000, price=None)
    outcomes = asyncio.run(map_calls(model, [ask(str(i)) for i in range(100)], concurrency=8))
    done = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
    assert 0 < len(done) * 600 <= 18_000 and len(done) < 100
    assert ledger.spent().tokens == len(done) * 600
    assert ledger.cost()["usd"] is None, "an unknown price is unknown in the sum too"


def test_a_budget_in_money_needs_a_price(ledger):
    with pytest.raises(ModelError, match="unknown") as caught:
        metered(ledger, [], usd=1.0, price=None)
    assert "prices" in caught.value.remedy and "tokens" in caught.value.remedy


@pytest.mark.parametrize("cap", [{"usd": -1}, {"tokens": -1}, {"usd": float("nan")}])
def test_a_budget_that_cannot_be_meant(ledger, cap):
    with pytest.raises(UsageError):
        Budget(ledger, **cap)


def test_two_models_share_one_budget(ledger):
    budget = Budget(ledger, usd=0.02)
    models = [Metered(ScriptedModel(lambda r: answer(), name=n, price=PRICE), budget) for n in ("a/strong", "b/fast")]

    async def both():
        return [await models[i % 2].complete(ask(str(i))) for i in range(100)]

    with pytest.raises(BudgetExhausted):
        asyncio.run(both())
    assert ledger.cost()["usd"] <= 0.02 and {row["model"] for row in ledger.totals()} == {"a/strong", "b/fast"}


def test_what_an_earlier_process_spent_counts(tmp_path):
    path = tmp_path / "calls.sqlite"
    with Ledger(path) as ledger:
        asyncio.run(metered(ledger, [answer()], usd=1.0)[0].complete(ask()))
    with Ledger(path) as ledger:
        assert Budget(ledger, usd=1.0).spent_usd == pytest.approx(0.0045)


def test_a_run_is_open_in_one_process_at_a_time(ledger):
    with pytest.raises(ModelError, match="in use"):
        Ledger(ledger.path)
    totals, cost = read_totals(ledger.path)
    assert totals == [] and cost["calls"] == 0


def test_after_a_wrong_key_nothing_more_is_sent(ledger):
    model, script = metered(ledger, lambda r: ModelUnavailable("wrong key", "mend it"), seconds=0.001)
    outcomes = asyncio.run(map_calls(model, [ask(str(i)) for i in range(500)], concurrency=4))
    assert all(isinstance(outcome, ModelUnavailable) for outcome in outcomes)
    assert len(script.requests) <= 4


def test_lost_attempts_that_the_sdk_made_good_are_counted_as_uncertain(serve, ledger):
    server = serve([{"drop": True}, {"text": "Yes."}])
    model = Metered(connect("anthropic", server.url), Budget(ledger, usd=1.0))
    assert asyncio.run(model.complete(ask())).text == "Yes."
    [(state, attempts, uncertain, held)] = read(ledger, "SELECT state, attempts, uncertain_usd, held_usd FROM calls")
    assert (state, attempts) == ("done", 2) and uncertain == held > 0
    assert model.budget.spent_usd == pytest.approx(ledger.spent().usd)


def test_keys_never_reach_the_disk(serve, ledger):
    server = serve([{"status": 400, "message": "bad request, key sk-test-openai-0123456789"}, {"text": "Yes."}])
    model = Metered(connect("chat", server.url), Budget(ledger))
    asyncio.run(map_calls(model, [ask("a"), ask("b")]))
    stored = b"".join(file.read_bytes() for file in ledger.path.parent.iterdir())
    assert b"sk-test" not in stored and b"bad request" in stored


def test_requests_are_spaced_by_the_rate(ledger):
    model = Metered(ScriptedModel(lambda r: answer(), price=PRICE), Budget(ledger), Limits(requests_per_minute=6000))
    loop_seconds = timed(map_calls(model, [ask(str(i)) for i in range(51)], concurrency=51))
    assert 0.5 <= loop_seconds < 0.8


def test_tokens_are_spaced_by_the_rate(ledger):
    limits = Limits(tokens_per_minute=60 * 110_000)
    model = Metered(ScriptedModel(lambda r: answer(), price=PRICE), Budget(ledger), limits)
    loop_seconds = timed(map_calls(model, [ask(str(i)) for i in range(51)], concurrency=1))
    assert 0.45 <= loop_seconds < 0.8, "50 calls of 1,100 tokens at 110,000 a second"


def test_a_429_holds_all_calls_back(serve, ledger):
    busy = {"status": 429, "message": "slow down", "headers": {"retry-after-ms": "400"}}
    server = serve([busy, {"text": "Yes."}])
    model = Metered(connect("chat", server.url), Budget(ledger))

    async def one_then_many():
        first = asyncio.create_task(model.complete(ask("first")))
        await asyncio.sleep(0.2)
        assert len(server.bodies) == 1
        more = [asyncio.create_task(model.complete(ask(str(i)))) for i in range(3)]
        await asyncio.sleep(0.05)
        sent = len(server.bodies)
        await asyncio.gather(first, *more)
        return sent

    assert asyncio.run(one_then_many()) == 1


def timed(work):
    import time

    async def run():
        began = time.perf_counter()
        await work
        return time.perf_counter() - began

    return asyncio.run(run())


@pytest.mark.parametrize("limit", [{"requests_per_minute": 0}, {"tokens_per_minute": -5}])
def test_a_rate_that_cannot_be_meant(limit):
    with pytest.raises(UsageError):
        Limits(**limit)


def test_an_estimate_counts_repeats_and_cached_answers_once_and_not_at_all(ledger):
    model, _ = metered(ledger, lambda r: answer())
    asyncio.run(model.complete(ask("done")))
    guess = estimate([ask("done"), ask("new"), ask("new"), ask("newer " * 1000)], model)
    assert (guess["calls"], guess["cached"], guess["max_output_tokens"]) == (2, 1, 400)
    assert guess["usd"] == pytest.approx((guess["input_tokens"] * 3 + 400 * 15) / 1e6)
    assert 1000 < guess["input_tokens"] < 2500
    assert estimate([ask()], ScriptedModel([]))["usd"] is None


def test_prices_by_name_date_override_and_length():
    assert price_of("anthropic/claude-haiku-4-5-20251001") == price_of("anthropic/claude-haiku-4-5")
    assert price_of("openai/gpt-4o-2024-11-20") == price_of("openai/gpt-4o")
    assert price_of("openai/of-tomorrow") is None
    assert price_of("openai/of-tomorrow", {"openai/of-tomorrow": {"input": 1, "output": 2}}).cost(1e6, 0, 0, 1e6) == 3
    haiku = price_of("anthropic/claude-haiku-5-5")
    assert haiku.cost(100_000, 0, 0, 0) == pytest.approx(0.01)
    assert haiku.cost(100_001, 0, 0, 0) == pytest.approx(0.0500005)
    assert haiku.ceiling(1000, 1000) >= haiku.cost(1000, 0, 1000, 1000)


@pytest.mark.parametrize("entry", [{"input": 1}, {"input": -1, "output": 1}, {"input": "x", "output": 1}, 3, None])
def test_a_price_that_is_none(entry):
    with pytest.raises(UsageError, match="the price of a/b"):
        parse_price("a/b", entry)


def test_every_shipped_price_is_one():
    from primitives.settings import shipped

    table = shipped("prices")
    assert table["as_of"] and table["note"]
    for name, entry in table["models"].items():
        rates = parse_price(name, entry).rates
        assert 0 < rates.cached < rates.input < rates.output, name


@pytest.mark.parametrize(
    "text", ["plain words of English " * 50, "日本語のテキスト" * 50, '{"a": [1, 2, 3]}' * 50, "🙂" * 50]
)
def test_what_is_held_is_more_than_any_likely_count(text):
    from primitives.tokens import count_tokens

    assert input_ceiling(ask(text)) > count_tokens(text) * 1.5
