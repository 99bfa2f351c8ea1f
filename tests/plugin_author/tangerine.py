from typing import Any

from chainette.backend import (
    CHAT_SAMPLING,
    Backend,
    Capabilities,
    EngineConfig,
    OpenAIChatClient,
    SamplingParams,
    register_backend,
)


class TangerineClient(OpenAIChatClient):
    default_endpoint = "https://api.tangerine.example/v1"
    needs_api_key = True
    max_tokens_field = "token_limit"

    def key_headers(self, key: str) -> dict[str, str]:
        return {"X-Tangerine-Key": key}

    def sampling_fields(self, sampling: SamplingParams) -> dict[str, Any]:
        return {"options": super().sampling_fields(sampling)}


able = Capabilities(json_schema=True, sampling=CHAT_SAMPLING)
register_backend(Backend("tangerine", EngineConfig, TangerineClient, able, summary="a fruit"))
