"""Strict schemas follow OpenAI's rules, and their answers are restored to the original types."""

import copy
import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pydantic
import pytest
from chainette.engine.structured.strict import to_strict
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import (
    AliasChoices,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    Json,
    JsonValue,
    RootModel,
    SecretStr,
    StringConstraints,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    computed_field,
    create_model,
)
from typing_extensions import NotRequired, TypeAliasType, TypedDict

T = TypeVar("T")


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    B = "b"
    HALF = 0.5


class Plain(BaseModel):
    name: str
    age: int
    score: float
    ok: bool
    nothing: None
    tags: list[str]


class Defaults(BaseModel):
    count: int = 5
    label: str | None = None
    tags: list[str] = Field(default_factory=list)
    colour: Color = Color.RED
    origin: "Plain | None" = None


class Constrained(BaseModel):
    code: str = Field(min_length=1, max_length=20, pattern=r"^[A-Z]+\d*$")
    ratio: float = Field(gt=0, lt=1, multiple_of=0.25, description="A share")
    size: int = Field(ge=1, le=9, examples=[3, 4])
    few: list[int] = Field(min_length=1, max_length=3)
    names: set[str] = Field(min_length=1)
    table: dict[str, int] = Field(min_length=1, max_length=2)
    low: Annotated[str, StringConstraints(to_lower=True, max_length=1)]


class Dates(BaseModel):
    at: dt.datetime
    day: dt.date
    hour: dt.time
    span: dt.timedelta


class Texts(BaseModel):
    uid: uuid.UUID
    uid4: pydantic.UUID4
    path: pathlib.Path
    url: HttpUrl
    any_url: AnyUrl
    ip: ipaddress.IPv4Address
    network: ipaddress.IPv6Network
    raw: bytes
    b64: Base64Bytes
    expression: re.Pattern[str]
    text: Json[list[int]]
    secret: SecretStr


class Numbers(BaseModel):
    amount: decimal.Decimal
    price: decimal.Decimal = Field(max_digits=5, decimal_places=2, ge=0)
    size: ByteSize
    either: int | str | bool


class Node(BaseModel):
    """A tree."""

    value: int
    children: list["Node"] = []
    parent: "Node | None" = None


class Left(BaseModel):
    rights: list["Right"]


class Right(BaseModel):
    left: Left | None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


def kind_of(value: Any) -> str:
    return str(value["kind"] if isinstance(value, dict) else value.kind)


TaggedPet = Annotated[
    Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(kind_of)
]


class Owner(BaseModel):
    pet: Pet = Field(description="The pet, if any.")
    pets: list[TaggedPet]
    house: dict[str, Pet]
    best: Cat = Field(description="The best of them.", default=Cat(kind="cat", lives=9))


class Options(TypedDict):
    depth: int
    name: NotRequired[str]
    limit: NotRequired[int | None]


class Clashing(TypedDict):
    name: NotRequired[str]
    other: "Named"


class Named(TypedDict):
    name: str | None


class Point(NamedTuple):
    x: int
    y: int


class Measure(NamedTuple):
    value: float
    unit: str = "m"


@dataclass
class Data:
    point: Point
    values: list[int] = field(default_factory=list)


class Box(BaseModel, Generic[T]):
    item: T
    more: list[T]


class Aliased(BaseModel):
    user_name: str = Field(alias="userName")
    mail: str = Field(validation_alias=AliasChoices("e-mail", "mail"))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.user_name.upper()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    when: dt.date
    pair: tuple[int, str]


class Empty(BaseModel):
    pass


class Free(BaseModel):
    anything: Any
    value: JsonValue
    thing: object
    bare_list: list  # type: ignore[type-arg]
    bare_dict: dict  # type: ignore[type-arg]
    bare_tuple: tuple  # type: ignore[type-arg]
    mapping: Mapping[str, Any] = Field(description="Any values.")


class Maps(BaseModel):
    plain: dict[str, int]
    deep: dict[str, dict[str, list[int]]]
    models: dict[str, Node]
    by_int: dict[int, str]
    by_date: dict[dt.date, int]
    by_color: dict[Color, int]
    by_level: dict[Level, int]
    by_literal: dict[Literal["a", "b"], int]
    by_pattern: dict[Annotated[str, Field(pattern="^x")], int]
    short_keys: dict[Annotated[str, Field(max_length=2)], int]
    counter: Counter[str]
    nested: defaultdict[str, list[int]]
    ordered: OrderedDict[str, int]


class Sequences(BaseModel):
    pair: tuple[int, str]
    same: tuple[float, float]
    many: tuple[int, ...]
    none: tuple[()]
    nested: tuple[tuple[int, str], dict[str, int], Node]
    point: Point
    measure: Measure
    frozen: frozenset[int]
    pairs: set[tuple[int, str]]
    queue: deque[int]
    some: Sequence[int]


class Clash(BaseModel):
    """Uses every name that the encoding would like to have."""

    entries: list[dict[str, int]]
    entries_: int
    item_1: str
    item__: str
    value: tuple[int, str]
    key: Any


class JsonValueNamesake(BaseModel):
    value: Any


JsonValueNamesake.__name__ = JsonValueNamesake.__qualname__ = "JsonValue"


class Holder(BaseModel):
    own: JsonValueNamesake
    free: Any


Tree = TypeAliasType("Tree", "dict[str, Tree] | list[Tree] | int | None")

NODE = {"value": 1, "children": [{"value": 2, "children": [], "parent": None}], "parent": None}
CAT = {"kind": "cat", "lives": 7}
DOG = {"kind": "dog", "name": "Rex"}
FREE = {"a": [1, 2.5, None, True, "x", {"entries": [{"key": "k", "value": 1}], "": {}}], "b": []}

# Each type with JSON values that it accepts, in their original shape.
CORPUS: list[tuple[str, Any, list[Any]]] = [
    (
        "plain model",
        Plain,
        [{"name": "a", "age": 1, "score": 0.5, "ok": True, "nothing": None, "tags": ["x"]}],
    ),
    (
        "defaults",
        Defaults,
        [
            {"count": 1, "label": None, "tags": ["a"], "colour": "blue", "origin": None},
            {"count": 5, "label": "x", "colour": "red", "origin": None},
        ],
    ),
    (
        "constrained fields",
        Constrained,
        [
            {
                "code": "AB1",
                "ratio": 0.25,
                "size": 3,
                "few": [1],
                "names": ["n"],
                "table": {"a": 1},
                "low": "Q",
            }
        ],
    ),
    (
        "dates",
        Dates,
        [{"at": "2024-05-01T10:00:00Z", "day": "2024-05-01", "hour": "10:00:00", "span": "P1DT2H"}],
    ),
    (
        "texts",
        Texts,
        [
            {
                "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "uid4": "9b2f3c1e-52f4-4d2b-9c52-3e3c0a1d7f11",
                "path": "/tmp/x",
                "url": "https://example.org/a",
                "any_url": "ftp://example.org/",
                "ip": "10.0.0.1",
                "network": "2001:db8::/32",
                "raw": "bytes",
                "b64": "aGVsbG8=",
                "expression": "^a+$",
                "text": "[1, 2]",
                "secret": "hush",
            }
        ],
    ),
    (
        "numbers",
        Numbers,
        [
            {"amount": "12.345", "price": 9.5, "size": "3 MiB", "either": True},
            {"amount": 3, "price": "1.25", "size": 12, "either": "x"},
        ],
    ),
    ("recursive model", Node, [NODE]),
    ("mutually recursive models", Left, [{"rights": [{"left": {"rights": []}}, {"left": None}]}]),
    (
        "unions in a model",
        Owner,
        [{"pet": CAT, "pets": [DOG, CAT], "house": {"a": DOG}, "best": CAT}],
    ),
    ("discriminated union at the root", Pet, [CAT, DOG]),
    ("plain union at the root", Cat | Dog, [CAT, DOG]),
    ("tagged union at the root", TaggedPet, [CAT, DOG]),
    ("typed dict", Options, [{"depth": 1, "limit": None}, {"depth": 1, "name": "n", "limit": 2}]),
    (
        "typed dict with a name that is null elsewhere",
        Clashing,
        [{"name": "n", "other": {"name": None}}],
    ),
    ("named tuple of one type", Point, [[1, 2]]),
    ("named tuple with a default", Measure, [[1.5, "km"]]),
    ("dataclass", Data, [{"point": [1, 2], "values": [3]}, {"point": [1, 2]}]),
    ("generic model", Box[int], [{"item": 1, "more": [2]}]),
    (
        "generic model of pairs",
        Box[tuple[int, Node]],
        [{"item": [1, NODE], "more": [[2, NODE]]}],
    ),
    ("aliases and a computed field", Aliased, [{"userName": "ann", "e-mail": "a@b.c"}]),
    ("extra allowed", Open, [{"name": "a"}]),
    ("strict, frozen, extra forbidden", Closed, [{"when": "2024-05-01", "pair": [1, "a"]}]),
    ("empty model", Empty, [{}]),
    (
        "free-form values",
        Free,
        [
            {
                "anything": FREE,
                "value": [FREE],
                "thing": None,
                "bare_list": [1, [FREE]],
                "bare_dict": FREE,
                "bare_tuple": ["a", {}],
                "mapping": {"k": FREE},
            }
        ],
    ),
    (
        "mappings",
        Maps,
        [
            {
                "plain": {"a": 1, "entries": 2},
                "deep": {"a": {"b": [1]}, "c": {}},
                "models": {"n": NODE},
                "by_int": {"7": "seven"},
                "by_date": {"2024-05-01": 1},
                "by_color": {"red": 1},
                "by_level": {"2": 1},
                "by_literal": {"b": 1},
                "by_pattern": {"xa": 1},
                "short_keys": {"ab": 1},
                "counter": {"w": 3},
                "nested": {"w": [3]},
                "ordered": {"z": 1, "a": 2},
            }
        ],
    ),
    (
        "sequences",
        Sequences,
        [
            {
                "pair": [1, "a"],
                "same": [1.5, 2.5],
                "many": [1, 2, 3],
                "none": [],
                "nested": [[1, "a"], {"k": 1}, NODE],
                "point": [1, 2],
                "measure": [2.5, "m"],
                "frozen": [1, 2],
                "pairs": [[1, "a"], [2, "b"]],
                "queue": [1],
                "some": [1],
            }
        ],
    ),
    (
        "clashing field names",
        Clash,
        [
            {
                "entries": [{"entries": 1}, {}],
                "entries_": 1,
                "item_1": "a",
                "item__": "b",
                "value": [1, "a"],
                "key": {"entries": [{"key": "a", "value": 1}], "item_1": 2},
            }
        ],
    ),
    ("a model called JsonValue", Holder, [{"own": {"value": {"a": 1}}, "free": [1]}]),
    ("recursive alias", Tree, [{"a": [1, None, {"b": 2}]}, [], 3, None]),
    ("any", Any, [FREE, [FREE], "x", 1, 1.5, None, {}, []]),
    ("json value", JsonValue, [FREE]),
    ("root list", RootModel[list[Plain]], [[]]),
    ("root dict", RootModel[dict[str, Node]], [{"a": NODE}, {}]),
    ("root recursive", RootModel[Node], [NODE]),
    ("dict of int", dict[str, int], [{"a": 1}, {}]),
    ("dict of any", dict[str, Any], [{"a": FREE}]),
    ("bare dict", dict, [FREE]),
    ("bare list", list, [[FREE]]),
    ("list of dicts", list[dict[str, int]], [[{"a": 1}, {}]]),
    ("tuple", tuple[int, str, Node], [[1, "a", NODE]]),
    ("set", set[int], [[1, 2]]),
    ("string", str, ["a"]),
    ("integer or null", int | None, [1, None]),
    ("boolean", bool, [True]),
    ("string enum", Color, ["red"]),
    ("integer enum", Level, [2]),
    ("mixed enum", Mixed, [1, "b", 0.5]),
    ("literals of all types", Literal[1, "a", None, True], ["a", 1, None, True]),
    ("one literal", Literal["only"], ["only"]),
    ("date", dt.date, ["2024-05-01"]),
    ("bytes", bytes, ["abc"]),
    ("optional model", Cat | None, [CAT, None]),
    ("union of mappings", dict[str, int] | dict[str, list[int]], [{"a": 1}, {"a": [1]}]),
    ("union of tuple and list", tuple[int, str] | list[int], [[1, "a"], [1, 2, 3]]),
    ("list of unions", list[Cat | dict[str, int] | int | None], [[CAT, {"a": 1}, 2, None]]),
    (
        "hand-written schema with a list of types",
        Annotated[Any, WithJsonSchema({"type": ["string", "null"], "maxLength": 5})],
        ["abc", None],
    ),
    (
        "hand-written schema without a type",
        Annotated[Any, WithJsonSchema({"properties": {"a": {"minimum": 1}}, "required": ["a"]})],
        [{"a": 1}],
    ),
    (
        "hand-written open tuple",
        Annotated[
            Any,
            WithJsonSchema(
                {
                    "type": "array",
                    "prefixItems": [{"type": "integer"}],
                    "items": {"type": "string"},
                    "minItems": 1,
                }
            ),
        ],
        [[1, "a", "b"]],
    ),
]
TYPES = [pytest.param(tp, id=name) for name, tp, _ in CORPUS]
SAMPLES = [
    pytest.param(tp, value, id=f"{name}-{number}")
    for name, tp, values in CORPUS
    for number, value in enumerate(values)
]

KEYWORDS = {
    "string": {"enum", "pattern", "format"},
    "number": {"enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": {"enum"},
    "null": set(),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}
KEYWORDS["integer"] = KEYWORDS["number"]
FORMATS = {
    *("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"),
}
PYTHON_TYPES: dict[str, Any] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def broken_rules(schema: dict[str, Any]) -> Iterator[str]:
    """Violations of strict mode's rules, independently of the code under test."""
    if schema.get("type") != "object" or "anyOf" in schema:
        yield "the root is not an object"
    defs = schema.get("$defs", {})
    yield from node_violations({k: v for k, v in schema.items() if k != "$defs"}, defs, "#")
    for name, node in defs.items():
        yield from node_violations(node, defs, f"#/$defs/{name}")


def node_violations(node: Any, defs: Any, at: str) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{at}: {node!r} is not an object"
        return
    if "$ref" in node:
        if set(node) != {"$ref"}:
            yield f"{at}: $ref has siblings"
        if node["$ref"].removeprefix("#/$defs/") not in defs:
            yield f"{at}: {node['$ref']} does not exist"
        return
    if "anyOf" in node:
        if set(node) - {"anyOf", "description"} or not node["anyOf"]:
            yield f"{at}: anyOf with {set(node)}"
        for number, branch in enumerate(node["anyOf"]):
            yield from node_violations(branch, defs, f"{at}/anyOf/{number}")
        return
    if node.get("type") not in KEYWORDS:
        yield f"{at}: type {node.get('type')!r}"
        return
    unknown = set(node) - KEYWORDS[node["type"]] - {"type", "description"}
    if unknown:
        yield f"{at}: {unknown} is not for type {node['type']}"
    yield from typed_violations(node, defs, at)


def typed_violations(node: dict[str, Any], defs: Any, at: str) -> Iterator[str]:
    for value in node.get("enum", ()):
        if not isinstance(value, PYTHON_TYPES[node["type"]]):
            yield f"{at}: {value!r} is not a {node['type']}"
    if node.get("format", "date") not in FORMATS:
        yield f"{at}: format {node['format']}"
    if "(?" in node.get("pattern", "").replace("(?:", ""):
        yield f"{at}: pattern {node['pattern']}"
    if node["type"] == "array":
        yield from node_violations(node.get("items"), defs, f"{at}/items")
    if node["type"] == "object":
        yield from object_violations(node, defs, at)


def object_violations(node: dict[str, Any], defs: Any, at: str) -> Iterator[str]:
    if node.get("additionalProperties") is not False:
        yield f"{at}: open object"
    if node.get("required") != list(node.get("properties", ())):
        yield f"{at}: not all required"
    for name, child in node.get("properties", {}).items():
        yield from node_violations(child, defs, f"{at}/properties/{name}")


class Encoder:
    """Writes a value of a Pydantic schema the way a model would under the strict schema."""

    def __init__(self, schema: Any, entries: str = "entries", item: str = "item_") -> None:
        self.schema, self.entries, self.item = schema, entries, item
        self.defs = schema.get("$defs", {})

    def answer(self, value: Any) -> Any:
        node = self.resolve(self.schema)
        wraps = "properties" not in node and not self.is_mapping(node) and not self.is_tuple(node)
        encoded = self.encode(value, node)
        return {"value": encoded} if wraps else encoded

    def resolve(self, node: Any) -> Any:
        while "$ref" in node:
            node = self.defs[node["$ref"].split("/")[-1]]
        return node

    def is_mapping(self, node: Any) -> bool:
        return (
            node.get("type") == "object"
            and not node.get("properties")
            and ("properties" not in node)
        )

    def is_tuple(self, node: Any) -> bool:
        prefix = node.get("prefixItems", [])
        return "items" not in node and any(member != prefix[0] for member in prefix)

    def encode(self, value: Any, node: Any) -> Any:
        node = self.resolve(node)
        branches = node.get("anyOf", node.get("oneOf"))
        if branches:
            return self.encode(value, next(b for b in branches if self.fits(value, b)))
        if "properties" in node:
            return {n: self.encode_member(value, n, c) for n, c in node["properties"].items()}
        if self.is_tuple(node):
            members = zip(value, node["prefixItems"], strict=True)
            return {f"{self.item}{n}": self.encode(v, c) for n, (v, c) in enumerate(members, 1)}
        if isinstance(value, dict):
            return self.encode_mapping(value, node)
        if isinstance(value, list):
            alike = node.get("prefixItems", [{}])[0]
            return [self.encode(member, node.get("items", alike)) for member in value]
        return value

    def encode_member(self, value: Any, name: str, node: Any) -> Any:
        return self.encode(value[name], node) if name in value else None

    def encode_mapping(self, value: Any, node: Any) -> Any:
        inner = next(iter(node.get("patternProperties", {}).values()), None)
        inner = inner or node.get("additionalProperties", {})
        inner = {} if inner is True else inner
        pairs = [{"key": key, "value": self.encode(v, inner)} for key, v in value.items()]
        return {self.entries: pairs}

    def fits(self, value: Any, node: Any) -> bool:
        return Draft202012Validator({**node, "$defs": self.defs}).is_valid(value)


def schema_of(tp: Any) -> dict[str, Any]:
    return TypeAdapter(tp).json_schema()


def round_trip(tp: Any, value: Any, entries: str = "entries", item: str = "item_") -> None:
    adapter = TypeAdapter(tp)
    schema = adapter.json_schema()
    strict = to_strict(schema)
    answer = Encoder(schema, entries, item).answer(value)
    Draft202012Validator(strict.schema).validate(answer)
    before = copy.deepcopy(answer)
    restored = strict.restore(answer)
    assert answer == before
    assert restored == value
    if strict.identity:
        assert restored == answer
    instance = adapter.validate_json(json.dumps(restored))
    assert repr(instance) == repr(adapter.validate_json(json.dumps(value)))


@pytest.mark.parametrize("tp", TYPES)
def test_schema_follows_every_rule_of_strict_mode(tp: Any) -> None:
    assert list(broken_rules(to_strict(schema_of(tp)).schema)) == []


@pytest.mark.parametrize("tp", TYPES)
def test_schema_is_valid_json_schema(tp: Any) -> None:
    strict = to_strict(schema_of(tp)).schema
    Draft202012Validator.check_schema(strict)
    assert json.loads(json.dumps(strict)) == strict


@pytest.mark.parametrize("tp", TYPES)
def test_input_is_not_changed(tp: Any) -> None:
    schema = schema_of(tp)
    before = copy.deepcopy(schema)
    to_strict(schema)
    assert schema == before


@pytest.mark.parametrize("tp", TYPES)
def test_openai_sdk_does_not_change_the_schema(tp: Any) -> None:
    sdk = pytest.importorskip("openai.lib._pydantic")
    strict = to_strict(schema_of(tp)).schema
    result = copy.deepcopy(strict)
    assert sdk._ensure_strict_json_schema(result, path=(), root=result) == strict


@pytest.mark.parametrize(("tp", "value"), SAMPLES)
def test_answer_is_restored_to_the_instance(tp: Any, value: Any) -> None:
    names = ("entries__", "item___") if tp is Clash else ("entries", "item_")
    round_trip(tp, value, *names)


@pytest.mark.parametrize(
    "tp",
    [Plain, Node, Dates, Texts, Numbers, Left, Cat, Aliased, Empty, Open, Box[int]],
)
def test_plain_models_do_not_need_restoring(tp: Any) -> None:
    strict = to_strict(schema_of(tp))
    answer = {"any": [1]}
    assert strict.identity
    assert strict.restore(answer) is answer


@pytest.mark.parametrize("tp", [Maps, Sequences, Free, Options, Pet, int, list[Plain], Any])
def test_encoded_shapes_need_restoring(tp: Any) -> None:
    assert not to_strict(schema_of(tp)).identity


def property_of(tp: Any, name: str) -> Any:
    return to_strict(schema_of(tp)).schema["properties"][name]


def test_mapping_is_encoded_as_entries() -> None:
    strict = to_strict(schema_of(dict[str, int]))
    pair = {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": {"type": "integer"}},
        "required": ["key", "value"],
        "additionalProperties": False,
    }
    assert strict.schema == {
        "type": "object",
        "properties": {"entries": {"type": "array", "items": pair}},
        "required": ["entries"],
        "additionalProperties": False,
    }
    assert strict.restore({"entries": [{"key": "a", "value": 1}]}) == {"a": 1}


def test_size_limits_of_a_mapping_apply_to_its_entries() -> None:
    entries = property_of(Constrained, "table")["properties"]["entries"]
    assert (entries["minItems"], entries["maxItems"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("by_color", {"type": "string", "enum": ["red", "blue"]}),
        ("by_level", {"type": "string", "enum": ["1", "2"]}),
        ("by_date", {"type": "string", "format": "date"}),
        ("by_pattern", {"type": "string", "pattern": "^x"}),
        ("short_keys", {"type": "string", "description": "At most 2 characters."}),
    ],
)
def test_keys_keep_their_constraints(name: str, key: Any) -> None:
    entries = property_of(Maps, name)["properties"]["entries"]
    assert entries["items"]["properties"]["key"] == key


def test_each_key_pattern_has_its_own_values() -> None:
    strict = to_strict(
        {
            "type": "object",
            "patternProperties": {"^n": {"type": "integer"}, "^s": {"type": "string"}},
            "additionalProperties": {"type": "null"},
        }
    )
    pairs = strict.schema["properties"]["entries"]["items"]["anyOf"]
    assert [pair["properties"]["value"]["type"] for pair in pairs] == ["integer", "string", "null"]
    assert list(broken_rules(strict.schema)) == []


def test_tuple_has_a_property_for_each_position() -> None:
    strict = to_strict(schema_of(tuple[int, str]))
    assert list(strict.schema["properties"]) == ["item_1", "item_2"]
    assert strict.restore({"item_2": "a", "item_1": 1}) == [1, "a"]


def test_tuple_of_one_type_is_a_list_of_fixed_length() -> None:
    strict = to_strict(schema_of(Sequences)).schema["properties"]["same"]
    assert strict == {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


def test_named_tuple_describes_its_positions_by_name() -> None:
    positions = to_strict(schema_of(Point)).schema["properties"]
    assert [position["description"] for position in positions.values()] == ["X", "Y"]


def test_root_that_is_not_an_object_is_wrapped() -> None:
    strict = to_strict(schema_of(list[int]))
    assert list(strict.schema["properties"]) == ["value"]
    assert strict.restore({"value": [1]}) == [1]


def test_recursive_root_is_inlined_and_its_definition_kept() -> None:
    strict = to_strict(schema_of(Node)).schema
    assert strict["type"] == "object"
    assert strict["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert strict["$defs"]["Node"]["description"] == "A tree."


def test_reference_with_its_own_description_is_wrapped() -> None:
    best = property_of(Owner, "best")
    description = 'The best of them. Default: {"kind": "cat", "lives": 9}.'
    assert best == {"anyOf": [{"$ref": "#/$defs/Cat"}], "description": description}


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        (
            "code",
            {
                "type": "string",
                "pattern": r"^[A-Z]+\d*$",
                "description": "At least 1 character. At most 20 characters.",
            },
        ),
        (
            "ratio",
            {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "multipleOf": 0.25,
                "description": "A share",
            },
        ),
        (
            "size",
            {"type": "integer", "minimum": 1, "maximum": 9, "description": "Examples: 3, 4."},
        ),
        (
            "names",
            {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "No repeated items.",
            },
        ),
    ],
)
def test_constraints_are_kept_or_described(name: str, schema: Any) -> None:
    assert property_of(Constrained, name) == schema


def test_default_is_described_and_the_property_required() -> None:
    strict = to_strict(schema_of(Defaults)).schema
    assert strict["properties"]["count"] == {"type": "integer", "description": "Default: 5."}
    assert strict["required"] == list(Defaults.model_fields)


@pytest.mark.parametrize(
    "pattern",
    [r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", r"(?<=a)b", r"(?P<n>a)", r"\Aa\Z", r"(a)\1", r"a++"],
)
def test_pattern_that_servers_refuse_is_described(pattern: str) -> None:
    node = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    converted = to_strict({**node, "required": ["a"]}).schema["properties"]["a"]
    assert "pattern" not in converted
    assert f"`{pattern}`" in converted["description"]


def test_mixed_values_are_grouped_by_type() -> None:
    assert to_strict(schema_of(Literal[1, "a", None, True])).schema["properties"]["value"] == {
        "anyOf": [
            {"type": "integer", "enum": [1]},
            {"type": "string", "enum": ["a"]},
            {"type": "null"},
            {"type": "boolean", "enum": [True]},
        ]
    }


def test_list_values_of_an_enum_are_free_form_and_described() -> None:
    value = to_strict({"enum": [[1, 2], [3]]}).schema["properties"]["value"]
    assert value["description"] == "One of: [[1, 2], [3]]."


def test_optional_key_may_be_null_if_null_is_not_a_value_of_that_name() -> None:
    strict = to_strict(schema_of(Options))
    assert strict.schema["properties"]["name"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "description": "Null to leave it out.",
    }
    assert strict.restore({"depth": 1, "name": None, "limit": None}) == {"depth": 1, "limit": None}


def test_optional_key_is_required_if_null_is_a_value_of_that_name() -> None:
    strict = to_strict(schema_of(Clashing))
    assert strict.identity
    assert strict.schema["properties"]["name"] == {"type": "string"}


def test_null_in_free_form_values_is_kept() -> None:
    class Both(TypedDict):
        name: NotRequired[str]
        free: dict[str, Any]

    round_trip(Both, {"free": {"name": None, "x": {"name": None}}})


def test_all_of_is_merged() -> None:
    schema = {
        "$defs": {
            "Base": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            }
        },
        "type": "object",
        "properties": {
            "both": {
                "allOf": [
                    {"$ref": "#/$defs/Base"},
                    {"properties": {"b": {"type": "string"}}, "required": ["b"]},
                ]
            },
            "one": {"allOf": [{"$ref": "#/$defs/Base"}], "description": "Old style."},
        },
        "required": ["both", "one"],
    }
    strict = to_strict(schema).schema
    assert list(broken_rules(strict)) == []
    assert set(strict["properties"]["both"]["properties"]) == {"a", "b"}
    assert strict["properties"]["one"]["anyOf"] == [{"$ref": "#/$defs/Base"}]


def test_rules_without_an_equivalent_are_described() -> None:
    node = {"type": "string", "not": {"const": "x"}, "if": {"minLength": 3}, "then": False}
    value = to_strict(node).schema["properties"]["value"]
    assert value == {"type": "string", "description": 'not: {"const": "x"}. if: {"minLength": 3}.'}


@pytest.mark.parametrize("ref", ["#/$defs/Missing", "#/properties/a", "#", "other.json"])
def test_reference_without_a_definition_is_an_error(ref: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(ref))):
        to_strict({"type": "array", "items": {"$ref": ref}})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        {"entries": 3},
        {"entries": [{"key": 1, "value": 2}]},
        {"entries": [{"key": "a"}]},
        {"item_1": 1, "item_3": 2},
        {"item_1": 1, "other": 2},
        {"value": 1, "more": 2},
    ],
)
def test_answer_that_does_not_follow_the_schema_is_left_to_validation(answer: Any) -> None:
    assert to_strict(schema_of(list[Any])).restore(answer) == answer


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["entries", "key", "value", "item_1", "item_2"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_round_trips(value: Any) -> None:
    round_trip(Any, value)


@given(st.dictionaries(st.text() | st.just("entries"), st.integers()))
def test_every_mapping_round_trips(value: Any) -> None:
    round_trip(dict[str, int], value)


Case = tuple[Any, st.SearchStrategy[Any]]
FIELD_NAMES = ["entries", "item_1", "key", "value", "a", "properties", "type"]


def models_of(members: list[tuple[str, Case, bool]]) -> Case:
    fields: dict[str, Any] = {name: (tp, ...) for name, (tp, _), _ in members}
    model = create_model("Generated", **fields)
    return model, st.fixed_dictionaries({name: values for name, (_, values), _ in members})


def typed_dicts_of(members: list[tuple[str, Case, bool]]) -> Case:
    fields = {n: tp if required else NotRequired[tp] for n, (tp, _), required in members}
    values = {name: inner for name, (_, inner), _ in members}
    return TypedDict("Generated", fields), st.fixed_dictionaries(values)  # type: ignore[operator]


def pairs_of(two: tuple[Case, Case]) -> Case:
    (one, values), (other, more) = two
    return GenericAlias(tuple, (one, other)), st.tuples(values, more).map(list)


def wider(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    members = st.lists(
        st.tuples(st.sampled_from(FIELD_NAMES), inner, st.booleans()),
        max_size=3,
        unique_by=lambda member: member[0],
    )
    return st.one_of(
        inner.map(lambda t: (GenericAlias(list, t[0]), st.lists(t[1], max_size=2))),
        inner.map(lambda t: (GenericAlias(dict, (str, t[0])), st.dictionaries(st.text(), t[1]))),
        inner.map(lambda t: (t[0] | None, t[1] | st.none())),
        st.tuples(inner, inner).map(pairs_of),
        members.map(models_of),
        members.map(typed_dicts_of),
    )


GENERATED_TYPES = st.recursive(
    st.sampled_from(
        [(int, st.integers(-9, 9)), (str, st.text(max_size=3)), (bool, st.booleans()), (Any, JSON)]
    ),
    wider,
    max_leaves=6,
)


def names_in(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(names_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    names = set(own) if isinstance(own, dict) else set()
    return names.union(*map(names_in, schema.values()))


@settings(max_examples=150, deadline=None)
@given(GENERATED_TYPES, st.data())
def test_every_generated_type_and_value_round_trips(case: Case, data: st.DataObject) -> None:
    tp, values = case
    schema = schema_of(tp)
    strict = to_strict(schema)
    assert list(broken_rules(strict.schema)) == []
    names = names_in(schema)
    entries = "entries_" if "entries" in names else "entries"
    item = "item__" if "item_1" in names else "item_"
    round_trip(tp, data.draw(values), entries, item)
