"""The facts of ../shared/corpora as queries; a module a corpus, registered in `registry`."""

from tests.facts import agentdojo, agentrx, aider, mast_human, miniswe, sweagent, tau2, taubench, whowhen

__all__ = ["agentdojo", "agentrx", "aider", "mast_human", "miniswe", "sweagent", "tau2", "taubench", "whowhen"]
