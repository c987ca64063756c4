"""Every exception that insights raises on purpose.

    InsightsError                 something a user can act on; carries a remedy; exit status 1
    ├── UsageError                the command or its arguments cannot be meant; exit status 2
    ├── SourceError               a source of traces cannot be read at all
    ├── CorpusError               the corpus folder is missing, foreign, older or locked
    ├── KernelError               the kernel or its sandbox cannot be started or has died
    │   └── SandboxUnavailable    no sandbox on this machine and none was waived
    ├── GatewayRefused            a cell asked the gateway for what its role may not do
    ├── ModelError                a model provider refused, failed or answered what cannot be used
    │   ├── BudgetExhausted       the run's ceiling of money or tokens is reached
    │   ├── ModelUnavailable      no call can succeed until the user acts: key, name, quota, network
    │   ├── AnswerLost            a call was sent and no answer came: it may have been charged
    │   └── ModelRefused          the model declined; kept apart because it is counted, not retried
    └── PredicateError            a predicate is not one read-only SELECT, or does not run

What a model or a trace did wrong is data and comes back as a value; these are for what we, the
machine or the user must mend. `str(error)` is one line naming the thing and the place.
"""

from __future__ import annotations


class InsightsError(Exception):
    """`message` says what and where; `remedy` says what to do next."""

    exit_status = 1

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UsageError(InsightsError):
    exit_status = 2


class SourceError(InsightsError):
    pass


class CorpusError(InsightsError):
    pass


class KernelError(InsightsError):
    pass


class SandboxUnavailable(KernelError):
    pass


class GatewayRefused(InsightsError):
    pass


class ModelError(InsightsError):
    pass


class BudgetExhausted(ModelError):
    pass


class ModelUnavailable(ModelError):
    pass


class AnswerLost(ModelError):
    pass


class ModelRefused(ModelError):
    pass


class PredicateError(InsightsError):
    pass
