"""What no text may show."""

from __future__ import annotations

_MASK = "***"
_SHORTEST = 6  # a shorter one is a placeholder such as "none", and part of many words


class Secrets:
    """The secrets of one engine."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def keep(self, *secrets: str) -> None:
        """Have secrets scrubbed, also as a repr shows them."""
        forms = {
            form for secret in secrets for form in (secret, secret.strip(), repr(secret)[1:-1])
        }
        kept = {*self._texts, *(form for form in forms if len(form) >= _SHORTEST)}
        self._texts = sorted(kept, key=len, reverse=True)  # longer ones may hold shorter ones

    def scrub(self, text: str) -> str:
        """Replace the secrets in a text by asterisks."""
        for secret in self._texts:
            text = text.replace(secret, _MASK)
        return text
