from __future__ import annotations

import json

import respx
from chainette import GuidedDecodingParams, SamplingParams, register_engine
from pydantic import BaseModel

URL = "http://vllm.test/v1"


class City(BaseModel):
    name: str


@respx.mock
def test_vllms_sampling_parameters_and_the_schema_reach_the_server() -> None:
    message = {"content": '{"name": "Oslo"}', "reasoning": "because"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    route = respx.post(f"{URL}/chat/completions").respond(json=answer)
    client = register_engine("e", backend="vllm_api", model="m", endpoint=URL).engine
    params = SamplingParams(top_k=3, min_p=0.1, repetition_penalty=1.2)
    (output,) = client.generate(["x"], params, output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo")
    assert output.outputs[0].reasoning_content == "because"
    request = route.calls.last.request
    assert "authorization" not in request.headers
    sent = json.loads(request.content)
    assert (sent["top_k"], sent["min_p"], sent["repetition_penalty"]) == (3, 0.1, 1.2)
    assert sent["response_format"]["json_schema"]["schema"] == City.model_json_schema()
    assert "guided_json" not in sent


@respx.mock
def test_guided_decoding_goes_by_its_present_name() -> None:
    answer = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    route = respx.post(f"{URL}/chat/completions").respond(json=answer)
    client = register_engine("e", backend="vllm_api", model="m", endpoint=URL).engine
    params = SamplingParams(guided_decoding=GuidedDecodingParams(choice=["yes", "no"]))
    assert client.generate(["x"], params)[0].error is None
    sent = json.loads(route.calls.last.request.content)
    assert sent["structured_outputs"] == {"choice": ["yes", "no"]}
    assert not any(name.startswith("guided") for name in sent)
