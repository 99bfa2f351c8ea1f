"""Secrets, and their removal from texts."""

from __future__ import annotations

_MASK = "***"
_SHORTEST = 6  # a shorter one is a placeholder such as "none", and part of many words


class Secrets:
    """Texts that no message, log or file may show.

    Args:
        *secrets: The first of them; see `keep`.
    """

    def __init__(self, *secrets: str) -> None:
        self._texts: list[str] = []
        self.keep(*secrets)

    def keep(self, *secrets: str) -> None:
        """Add secrets, also in the form that a repr shows."""
        forms = {
            form for secret in secrets for form in (secret, secret.strip(), repr(secret)[1:-1])
        }
        kept = {*self._texts, *(form for form in forms if len(form) >= _SHORTEST)}
        self._texts = sorted(kept, key=len, reverse=True)  # longer ones may hold shorter ones

    def scrub(self, text: str) -> str:
        """Replace the secrets in a text with asterisks."""
        for secret in self._texts:
            text = text.replace(secret, _MASK)
        return text
