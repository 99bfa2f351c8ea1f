"""The promises that every backend keeps, as pytest checks; needs the extra `chainette[testing]`.

A plugin author subclasses `BackendContract` in a test module:

    class TestAcme(BackendContract):
        backend = "acme"
        fields = {"model": "small"}
        server_class = FakeOpenAI
"""

from chainette.testing.contract.answers import AnswerChecks
from chainette.testing.contract.concurrency import ConcurrencyChecks
from chainette.testing.contract.configuration import ConfigurationChecks
from chainette.testing.contract.failures import FailureChecks
from chainette.testing.contract.secrets import SecretChecks
from chainette.testing.contract.structured import StructuredChecks

__all__ = ["BackendContract"]


class BackendContract(
    AnswerChecks,
    StructuredChecks,
    FailureChecks,
    ConcurrencyChecks,
    SecretChecks,
    ConfigurationChecks,
):
    """What the design promises of every backend; see `Checks` for what a subclass sets."""
