"""Two parallel translations, joined for a comparison.

    chainette run examples/translate_and_join.py -i examples/support_tickets.jsonl \
        --engines examples/engines.llamacpp.yml
"""

from chainette import Branch, Chain, SamplingParams, Step
from pydantic import BaseModel, Field

SAMPLING = SamplingParams(temperature=0, max_tokens=250)


class Ticket(BaseModel):
    product: str
    ticket: str


class Gist(BaseModel):
    sentence: str = Field(max_length=120)


class Translation(BaseModel):
    text: str = Field(max_length=200)


class Comparison(BaseModel):
    differs: bool = Field(description="Whether the two say different things")
    remark: str = Field(max_length=120)


def translate(language: str) -> Branch[Gist, Translation]:
    """A branch of one step."""
    step = Step(
        id=f"to_{language.lower()}",
        engine_name="default",
        input_model=Gist,
        output_model=Translation,
        sampling=SAMPLING,
        user_prompt=f"Translate into {language}: {{{{ sentence }}}}",
    )
    return Branch(name=language, steps=step).join(language.lower())


gist = Step(
    id="gist",
    engine_name="default",
    input_model=Ticket,
    output_model=Gist,
    sampling=SAMPLING,
    user_prompt="Say in one short sentence what is the matter: {{ ticket }}",
)
compare = Step(
    id="compare",
    engine_name="default",
    input_model=Gist,
    output_model=Comparison,
    sampling=SAMPLING,
    user_prompt="French: {{ french.text }}\nSpanish: {{ spanish.text }}\nDo they say the same?",
)
chain = Chain(
    name="translate_and_join",
    steps=gist >> (translate("French") | translate("Spanish")) >> compare,
)
