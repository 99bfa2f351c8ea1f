"""The promises of every backend as pytest checks; needs the extra `chainette[testing]`.

A plugin author subclasses `BackendContract` in a test module:

    class TestAcme(BackendContract):
        backend = "acme"
        fields = {"model": "small"}
        server_class = FakeOpenAI
"""

import pytest

# A failed check shows the values that it compared.
KINDS = ("answers", "concurrency", "configuration", "failures", "secrets", "structured")
pytest.register_assert_rewrite(*(f"{__name__}.{kind}" for kind in KINDS))

from chainette.testing.contract.answers import AnswerChecks  # noqa: E402
from chainette.testing.contract.concurrency import ConcurrencyChecks  # noqa: E402
from chainette.testing.contract.configuration import ConfigurationChecks  # noqa: E402
from chainette.testing.contract.failures import FailureChecks  # noqa: E402
from chainette.testing.contract.secrets import SecretChecks  # noqa: E402
from chainette.testing.contract.structured import StructuredChecks  # noqa: E402

__all__ = ["BackendContract"]


class BackendContract(
    AnswerChecks,
    StructuredChecks,
    FailureChecks,
    ConcurrencyChecks,
    SecretChecks,
    ConfigurationChecks,
):
    """The promises of every backend; `Checks` documents the attributes that a subclass sets."""
