"""From a name to a model."""

from __future__ import annotations

from typing import Any

from insights.errors import UsageError
from insights.models.messages import Model

KNOWN = "anthropic/NAME, openai/NAME (with --base-url any compatible server) or replay/FILE"


def open_model(name: str, *, base_url: str | None = None, **settings: Any) -> Model:
    """The model called `provider/name`; `settings` are the fields of Settings. Nothing is sent yet.

    One rule for OpenAI's two protocols: the vendor's own service is spoken to in Responses, a server
    behind another base URL (argument or OPENAI_BASE_URL) in chat completions, which all of them speak;
    `protocol="responses"` or `"chat"` says otherwise. `replay/FILE` answers from a recording.
    Raises UsageError for a name or setting that cannot be meant. A missing key is told at the first call.
    """
    provider, _, model_id = name.partition("/")
    if not model_id or provider not in ("anthropic", "openai", "replay"):
        raise UsageError(f"no model is called {name!r}", f"write {KNOWN}")
    if provider == "replay":
        from insights.models.replay import ReplayModel

        return ReplayModel(model_id, settings.get("prices"))
    from insights.models.provider import Settings

    try:
        chosen = Settings(base_url=base_url or None, **settings)
    except TypeError as error:
        raise UsageError(f"{name}: {error}", f"settings are {', '.join(Settings.__dataclass_fields__)}") from error
    if provider == "anthropic":
        from insights.models.anthropic_messages import AnthropicMessages

        return AnthropicMessages(model_id, chosen)
    from insights.models.openai_chat import OpenAIChat
    from insights.models.openai_responses import OpenAIResponses

    chat = OpenAIChat(model_id, chosen)
    if chosen.protocol == "chat" or (chosen.protocol is None and chat.own_server):
        return chat
    return OpenAIResponses(model_id, chosen)
