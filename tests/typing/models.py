"""Models that the other files of this folder share."""

from typing import Literal

from pydantic import BaseModel


class Review(BaseModel):
    text: str


class Sentiment(BaseModel):
    label: Literal["positive", "negative", "mixed"]


class Detailed(Sentiment):
    """A kind of sentiment."""

    why: str


class Reply(BaseModel):
    text: str
