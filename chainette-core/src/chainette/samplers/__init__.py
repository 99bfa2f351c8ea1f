"""Samplers: the rules by which `chainette.rows` draws the values of columns."""

from chainette.samplers.combined import optional, several, switch
from chainette.samplers.fakes import faker
from chainette.samplers.functions import template
from chainette.samplers.numbers import integer, normal, number
from chainette.samplers.sampler import Sampler
from chainette.samplers.times import date, datetime
from chainette.samplers.values import boolean, choice, constant, subset, uuid

__all__ = [
    "Sampler",
    "boolean",
    "choice",
    "constant",
    "date",
    "datetime",
    "faker",
    "integer",
    "normal",
    "number",
    "optional",
    "several",
    "subset",
    "switch",
    "template",
    "uuid",
]
