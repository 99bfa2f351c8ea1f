"""Types of steps, pipes, chains, runs and results, as a user's editor infers them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from chainette import Branch, Chain, Result, Run, SamplingParams, Step
from chainette.pipeline.nodes.flow import Parallel, Pipe
from models import Detailed, Reply, Review, Sentiment
from typing_extensions import assert_type

label = Step(
    id="label",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
)
explain = Step(
    id="explain",
    input_model=Review,
    output_model=Detailed,
    engine_name="small",
    user_prompt="{{ text }}",
)
reply = Step(
    id="reply",
    input_model=Sentiment,
    output_model=Reply,
    engine_name="small",
    user_prompt="{{ label }}",
)
talk = Step(
    id="talk",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    messages=[
        {"role": "system", "content": "Be brief."},
        {"history": "turns"},
        {"role": "user", "content": "{{ text }}"},
    ],
    examples=[
        (Review(text="Great!"), Sentiment(label="positive")),
        ({"text": "Bad."}, Sentiment(label="negative")),
    ],
    prefill="{",
)
of_file = Step(
    id="of_file",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
    examples=Path("few.jsonl"),
)
assert_type(talk, Step[Review, Sentiment])
assert_type(of_file, Step[Review, Sentiment])
assert_type(talk >> reply, Pipe[Review, Reply])
often = Step(
    id="often",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
    sampling={"temperature": [0, 0.4, 0.8]},
    reasks=3,
    keep_reasoning=True,
)
by_attempt = Step(
    id="by_attempt",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
    sampling=[SamplingParams(temperature=0), {"temperature": 0.4}],
)
assert_type(often, Step[Review, Sentiment])
assert_type(by_attempt, Step[Review, Sentiment])
french = Branch(name="french", steps=reply).join("fr")
spanish = Branch(name="spanish", steps=reply).join("es")

assert_type(label, Step[Review, Sentiment])
assert_type(label >> reply, Pipe[Review, Reply])
assert_type(explain >> reply, Pipe[Review, Reply])  # what gives a subclass fits
reply >> label  # type: ignore[operator]  # pyright: ignore

assert_type(french, Branch[Sentiment, Reply])
assert_type(french | spanish, Parallel[Sentiment])
assert_type(label >> french >> reply, Pipe[Review, Reply])
assert_type(label >> (french | spanish) >> reply, Pipe[Review, Reply])
assert_type(label >> [french, spanish] >> reply, Pipe[Review, Reply])
reply >> french  # type: ignore[operator]  # pyright: ignore

chain = Chain(name="replies", steps=label >> french >> reply)
assert_type(chain, Chain[Review, Reply])
assert_type(Chain(name="one", steps=label), Chain[Review, Sentiment])
assert_type(Chain(name="list", steps=[label, reply]), Chain[Any, Any])

run = chain.run([{"text": "Great lamp!"}], max_requests_per_row=9, max_cost_per_row=0.05)
assert_type(run, Run[Reply])
assert_type(run.results, Sequence[Result[Reply]])
assert_type(run.errors, Iterator[Result[Reply]])
assert_type(run.report("report.html", rows=10), Path)
assert_type(run.cost, Decimal | None)

result = run.results[0]
assert_type(result.value, Reply | None)
assert_type(result.reasoning, Mapping[str, Any])
assert_type(result.unwrap(), Reply)
assert_type(result[label], Sentiment)
assert_type(result[french], Reply)
assert_type(result["label"], Any)
if (value := result.value) is not None:
    assert_type(value, Reply)

choice = Step(
    id="choice",
    input_model=Review,
    output_model=Literal["a", "b"],
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(choice, Step[Review, Literal["a", "b"]])
either = Step(
    id="either",
    input_model=Review,
    output_model=Sentiment | Reply,
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(either, Step[Review, Sentiment | Reply])
several = Step(
    id="several",
    input_model=Review,
    output_model=list[Reply],
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(several, Step[Review, list[Reply]])


async def stream() -> None:
    async for streamed in chain.stream([{"text": "Great lamp!"}], in_order=True):
        assert_type(streamed, Result[Reply])
    assert_type(await chain.arun([{"text": "Great lamp!"}]), Run[Reply])
    assert_type(await chain.arun_one({"text": "Great lamp!"}), Reply)
    assert_type(await chain.arun_one(Review(text="Great lamp!"), full=True), Result[Reply])


assert_type(chain.run_one(Review(text="Great lamp!")), Reply)
assert_type(chain.run_one({"text": "Great lamp!"}, full=True), Result[Reply])
chain.run_one(Reply(text="Great lamp!"))  # type: ignore[call-overload]  # pyright: ignore
