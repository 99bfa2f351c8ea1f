"""A fake server of Ollama's own API and of its endpoints under `/v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chainette.testing.fake_server import (
    MODEL,
    FakeServer,
    ModelAnswer,
    ReceivedRequest,
    count_words,
    sampling_of,
)
from chainette.testing.ollama import compatible
from chainette.testing.ollama.recorded import (
    TOO_LONG,
    Modelfile,
    Version,
    malformed,
    nested,
    too_long,
    wrong_option,
)
from chainette.testing.ollama.schemas import GONE, refusal_of
from chainette.testing.script import Answers, Reply
from chainette.usage import Usage

Early = tuple[Reply, bytes]
_CHATS = ("/api/chat", "/api/generate")
_POSTS = (*_CHATS, *compatible.PATHS, "/api/show", "/api/pull", "/api/embed", "/v1/embeddings")
_GETS = ("/api/version", "/api/tags", "/api/ps")
_JSON, _PLAIN, _LINES = "application/json; charset=utf-8", "text/plain", "application/x-ndjson"
_NO_TYPE = {"Content-Type": ""}
_HOSTS = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0")  # noqa: S104  # nosec B104
_NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"


class FakeOllama(FakeServer):
    """Ollama's own API (Ollama documentation, "API"), as the real program was seen to answer.

    The model's words are the script's; everything else follows the recorded exchanges: what is
    refused and how, which prompts are cut, and when a schema is enforced. A `Reply` whose
    `finish_reason` is empty is an answer that the server gave up on (`done: false`).

    Args:
        answers: The script.
        api_key: The bearer token that requests must have.
        version: The server that was recorded.
        modelfiles: The models by name; any other is missing then. Without them, the server has
            every model that is asked for.

    Attributes:
        models: Names of the models that it lists; a pull adds to them.
        context: Tokens of context, where neither the request nor the model says otherwise.
        loads: Bodies of the requests that loaded or unloaded a model.
    """

    def __init__(
        self,
        answers: Answers = None,
        *,
        api_key: str | None = None,
        version: Version = "0.33 template",
        modelfiles: Mapping[str, Modelfile] | None = None,
    ) -> None:
        super().__init__(answers, api_key=api_key)
        self.version: Version = version
        self._modelfiles = modelfiles
        self.models: list[str] = [f"{MODEL}:latest"] if modelfiles is None else list(modelfiles)
        self.context: int = 4096
        self.loads: list[Any] = []

    def before(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> Early | None:
        """Answer what Ollama answers before it reads the JSON of a request."""
        if headers.get("host", "").rpartition(":")[0] not in _HOSTS:
            return Reply(status=403, headers=_NO_TYPE), b""
        clean = "/" + path.strip("/")
        if clean != path and clean in (*_POSTS, *_GETS):
            return Reply(status=307, headers={**_NO_TYPE, "Location": clean}), b""
        if path not in (*_POSTS, *_GETS):
            return None
        if (method == "POST") != (path in _POSTS):
            return self._plain(405, "405 method not allowed")
        if method == "GET":
            return None
        if not content:
            return self._failed(path, 400, "missing request body")
        try:
            json.loads(content)
        except ValueError:
            return self._failed(path, 400, "unexpected EOF")
        return None

    def no_such_path(self, path: str) -> Early:
        """Answer in plain text, as Go's servers do."""
        return self._plain(404, "404 page not found")

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        """Read a request for a completion."""
        if path in compatible.PATHS:
            messages, schema = compatible.messages_of(path, body), compatible.schema_of(path, body)
            return ReceivedRequest(path, body, messages, schema, sampling_of(body))
        if path not in _CHATS or not (body.get("messages") or body.get("prompt")):
            return None
        messages = body.get("messages") or [{"role": "user", "content": body["prompt"]}]
        schema = body.get("format")
        sampling = sampling_of(body.get("options") or {})
        schema = schema if isinstance(schema, dict) else None
        return ReceivedRequest(path, body, messages, schema, sampling, body.get("think"))

    def refuse(self, request: ReceivedRequest) -> Reply | None:
        """Refuse a request, as the recorded server does; `None` takes it."""
        status, message = self._refusal(request)
        if message == GONE:
            return Reply(status=500, body=b"", send=0.0, then="drop")
        if not message:
            return None
        early, body = self._failed(request.path, status, message)
        return replace(early, body=body)

    def _refusal(self, request: ReceivedRequest) -> tuple[int, str]:
        body = request.body
        if error := malformed(body):
            return 400, error
        if unusable := self._missing(request.path, body["model"]):
            return unusable
        model = body["model"]
        if body.get("tools"):
            return 400, f"registry.ollama.ai/library/{model} does not support tools"
        wants = body.get("think") or body.get("reasoning_effort")
        if wants and not self._can_think(model):
            return 400, f'"{model}" does not support thinking'
        if error := wrong_option(body.get("options") or {}):
            return 500, error
        if isinstance(form := body.get("format"), str) and form not in ("json", ""):
            shown = json.dumps(json.dumps(form))
            return 500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
        return self._unfit(request) or (200, "")

    def _unfit(self, request: ReceivedRequest) -> tuple[int, str] | None:
        """The refusal of a prompt that is too long, of an image, or of a schema."""
        is_native, context = self.version == "0.33 native", self._context_of(request)
        tokens = count_words(request, []).prompt_tokens
        is_strict = request.body.get("truncate") is False
        if tokens > context and (is_strict or (is_native and self._last(request) > context)):
            return 400, TOO_LONG if self.version == "0.25" else too_long(tokens, context)
        if any("images" in message for message in request.messages) and self.version != "0.25":
            hint = "hint: if this is unexpected, you may need to provide the mmproj"
            if is_native:
                return 500, nested(500, f"image input is not supported - {hint}", "server_error")
            message = "Multimodal data provided, but model does not support multimodal requests."
            return 400, nested(400, message)
        if request.schema is None or not self._enforces(request):
            return None
        return refusal_of(request.schema, self.version)

    def _missing(self, path: str, model: str) -> tuple[int, str] | None:
        """The refusal of a model that the server does not have."""
        if not model:
            return 400, "model is required"
        if " " in model:
            return 400, "invalid model name"
        if model.endswith("-cloud"):
            where = "https://ollama.com:443/api/chat?ts=1"
            message = f'Post "{where}": dial tcp: lookup ollama.com on 127.0.0.53:53: no such host'
            return 502, message
        if self._modelfiles is None or self._modelfile(model) is not None:
            return None
        if path == "/api/embed":
            return 404, f'model "{model}" not found, try pulling it first'
        whole = model if ":" in model or self.version == "0.25" else f"{model}:latest"
        return 404, f"model '{whole if path == '/api/show' else model}' not found"

    def other(self, path: str, body: Any) -> Any:
        """Answer what is not a request for a completion."""
        if path == "/api/tags":
            return {"models": [self._entry(name) for name in self.models]}
        if path in _GETS:
            return {"version": "0.0.0"} if path == "/api/version" else {"models": []}
        if path not in _POSTS:
            return None
        if path == "/api/pull":
            return self._pull(body["model"])
        if unusable := self._missing(path, body["model"]):
            return self._failed(path, *unusable)
        if path == "/api/show":
            return self._known(body["model"]).show()
        return self._load(path, body) if path in _CHATS else self._embed(path, body)

    def _load(self, path: str, body: Any) -> Any:
        """Load a model, or unload it."""
        error = malformed(body)
        if error or (option := wrong_option(body.get("options") or {})):
            return self._failed(path, 400, error) if error else self._failed(path, 500, option)
        self.loads.append(body)
        reason = "unload" if body.get("keep_alive") == 0 else "load"
        answer = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        message = {"role": "assistant", "content": ""}
        return answer | {"message": message, "done": True, "done_reason": reason}

    def _pull(self, model: str) -> Any:
        if " " in model:
            return self._failed("/api/pull", 400, "invalid model name")
        states: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if self._modelfiles is not None and self._modelfile(model) is None:
            where = f"https://registry.ollama.ai/v2/library/{model}/manifests/latest"
            reason = "dial tcp: lookup registry.ollama.ai on 127.0.0.53:53: no such host"
            states.append({"error": f'pull model manifest: Get "{where}": {reason}'})
        else:
            self.models.append(model)
            for done in (0, 500, 1000):
                part = {"digest": "sha256:ab", "total": 1000, "completed": done}
                states.append({"status": "pulling ab"} | part)
            states.append({"status": "success"})
        lines = b"".join(json.dumps(state).encode() + b"\n" for state in states)
        return Reply(headers={"Content-Type": _LINES}), lines

    def _embed(self, path: str, body: Any) -> Any:
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        words = sum(len(text.split()) for text in given)
        if body.get("truncate") is False and words > self._context(body):
            return self._failed(path, 400, TOO_LONG)
        if self.version != "0.25":
            return self._failed(path, 501, _NO_EMBEDDINGS)
        vectors = [[0.0] * 8 for _ in given]
        if path == "/api/embed":
            numbers = {"total_duration": 1, "load_duration": 1, "prompt_eval_count": words}
            return {"model": body["model"], "embeddings": vectors, **numbers}
        data = [
            {"object": "embedding", "embedding": vector, "index": index}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": words, "total_tokens": words}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}

    def write(self, request: ReceivedRequest, answer: ModelAnswer) -> Any:
        """Write an answer, by the path of the request."""
        body, prompt = request.body, self._read_tokens(request)
        answer = self._limited(request, answer)
        if request.path in compatible.PATHS:
            return compatible.written(request, answer, prompt)
        message: dict[str, Any] = {"role": "assistant", "content": answer.texts[0]}
        if answer.reasoning is not None:
            message["thinking"] = answer.reasoning
        whole = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        is_chat = request.path == "/api/chat"
        whole |= {"message": message} if is_chat else {"response": answer.texts[0]}
        if not answer.finish_reason:
            return whole | {"done": False}
        end = {"done": True, "done_reason": answer.finish_reason}
        if body.get("logprobs"):
            end["logprobs"] = [{"token": word} for word in answer.texts[0].split()]
        numbers = {
            "total_duration": 1, "load_duration": 1, "prompt_eval_count": prompt,
            "prompt_eval_duration": 1, "eval_count": answer.usage.completion_tokens,
            "eval_duration": 1,
        }  # fmt: skip
        if self.version == "0.25" and not (answer.texts[0] or answer.reasoning):
            del numbers["eval_duration"]
        return self._streamed(whole, end | numbers) if body.get("stream") else whole | end | numbers

    def _streamed(self, whole: dict[str, Any], end: dict[str, Any]) -> Any:
        """An answer in parts, a line each."""
        message = whole["message"]
        parts = [
            whole | {"message": message | {"content": each}, "done": False}
            for each in message["content"].split(" ")
        ]
        parts.append(whole | {"message": message | {"content": ""}} | end)
        lines = b"".join(json.dumps(part).encode() + b"\n" for part in parts)
        return Reply(headers={"Content-Type": _LINES}), lines

    def made_up(self, request: ReceivedRequest) -> dict[str, Any] | None:
        """The schema that a made-up answer follows: none where it is not enforced."""
        return request.schema if self._enforces(request) else None

    def _limited(self, request: ReceivedRequest, answer: ModelAnswer) -> ModelAnswer:
        """The answer within the limits of the model's own parameters."""
        parameters = self._parameters(request.body["model"])
        text, options = answer.texts[0], request.body.get("options") or {}
        if "stop" not in options:
            for word in parameters.get("stop") or ():
                text = text.partition(word)[0]
        reason, most = answer.finish_reason, parameters.get("num_predict")
        if most and "num_predict" not in options and len(text.split()) > most:
            text, reason = " ".join(text.split()[:most]), "length"
        if text == answer.texts[0]:
            return answer
        usage = Usage(answer.usage.prompt_tokens, len(text.split()))
        return replace(answer, texts=[text], finish_reason=reason, usage=usage)

    def _read_tokens(self, request: ReceivedRequest) -> int:
        """The tokens of a prompt that were read; of one that does not fit, the rest is cut."""
        tokens, context = count_words(request, []).prompt_tokens, self._context_of(request)
        if tokens <= context:
            return tokens
        last = self._last(request)
        if last <= context:  # earlier messages were dropped
            return last
        return context if self.version == "0.25" else context // 2 + 2

    def _last(self, request: ReceivedRequest) -> int:
        """The tokens of the messages that are never dropped: the system's, and the last one."""
        kept = [each for each in request.messages[:-1] if each["role"] == "system"]
        return count_words(
            replace(request, messages=[*kept, request.messages[-1]]), []
        ).prompt_tokens

    def _context_of(self, request: ReceivedRequest) -> int:
        return self._context(request.body)

    def _context(self, body: Any) -> int:
        own = self._parameters(body["model"]).get("num_ctx")
        return int((body.get("options") or {}).get("num_ctx") or own or self.context)

    def _enforces(self, request: ReceivedRequest) -> bool:
        """Whether a schema holds: the grammar does not begin before the model has thought."""
        if self.version == "0.33 native" or request.path in compatible.PATHS:
            return True
        return request.body.get("think") is False or not self._can_think(request.body["model"])

    def _can_think(self, model: str) -> bool:
        return "thinking" in self._known(model).capabilities

    def _parameters(self, model: str) -> Mapping[str, Any]:
        return self._known(model).parameters

    def _known(self, name: str) -> Modelfile:
        """The facts about a model; without any, it can do everything."""
        if self._modelfiles is None:
            return Modelfile(capabilities=("completion", "thinking"))
        return self._modelfile(name) or Modelfile()

    def _modelfile(self, name: str) -> Modelfile | None:
        return (self._modelfiles or {}).get(name.removesuffix(":latest"))

    def _entry(self, name: str) -> Mapping[str, Any]:
        model = self._modelfile(name)
        return (model and model.listed) or {"name": name, "model": name}

    def content_type(self, path: str) -> str:
        """The content type of an answer with JSON."""
        return "application/json" if path.startswith("/v1/") else _JSON

    def error(self, code: int, message: str) -> Any:
        """Write an error of Ollama."""
        return {"error": message}

    def _failed(self, path: str, status: int, message: str) -> Early:
        is_v1 = path.startswith("/v1/")
        error = compatible.error_of(status, message) if is_v1 else {"error": message}
        headers = {"Content-Type": self.content_type(path)}
        return Reply(status=status, headers=headers), json.dumps(error).encode()

    def _plain(self, status: int, text: str) -> Early:
        return Reply(status=status, headers={"Content-Type": _PLAIN}), text.encode()
