"""Schemas for OpenAI's strict structured outputs, and the way back from their answers.

Strict mode takes a subset of JSON Schema: the root is an object, every object is closed and
requires all its properties, and few keywords are known (OpenAI docs, "Structured model outputs",
section "Supported schemas"; lookarounds in patterns are refused by the server, vercel/ai #16021).
Other rules of a schema are put in words in `description`. Shapes that strict mode lacks are
encoded, and `StrictSchema.restore` undoes it:

- a mapping is `{"entries": [{"key": ..., "value": ...}]}`, within free-form values (`Any`) too;
- a tuple of unlike members is `{"item_1": ..., "item_2": ...}`;
- a property that may be left out and has no default may be null, and is then left out;
- a root that is not an object is `{"value": ...}`.

`entries` and `item_` grow underscores until no property of the schema is called so: an answer can
then be read without its schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

_DEFS = "#/$defs/"
_NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# The keywords that strict mode knows for a type; they imply the type where none is named.
_KEYWORDS = {
    "string": ("pattern", "format"),
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "array": ("minItems", "maxItems", "items", "prefixItems"),
    "object": ("properties", "additionalProperties", "patternProperties"),
}
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
# Lookarounds are refused; the others mean different things in different regex dialects.
_DIALECT = re.compile(r"\(\?(?!:)|\\[AZzbBGKpPk1-9]|[*+?}]\+")
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_PHRASES = {
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "pattern": "Must match the regular expression `{}`.",
    "format": "Format: {}.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "multipleOf": "A multiple of {}.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "minProperties": "At least {} keys.",
    "maxProperties": "At most {} keys.",
    "uniqueItems": "No repeated items.",
    "contentMediaType": "Holds {}.",
    "contentSchema": "Its content follows the JSON schema {}.",
    "default": "Default: {}.",
    "examples": "Examples: {}.",
}
_RULES = ("not", "if", "then", "else", "contains", "dependentRequired", "anyOf", "oneOf")
_PHRASES.update({keyword: f"{keyword}: {{}}." for keyword in _RULES})
_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class _Encoding:
    """The names that carry meaning in an answer; the schema uses none of them itself."""

    entries: str = "entries"
    item: str = "item_"
    absent: frozenset[str] = frozenset()  # properties whose null means "left out"

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(member) for member in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {self.entries} and _is_pairs(value[self.entries]):
            return {pair["key"]: self.decode(pair["value"]) for pair in value[self.entries]}
        positions = [f"{self.item}{n}" for n in range(1, len(value) + 1)]
        if positions and value.keys() == set(positions):
            return [self.decode(value[position]) for position in positions]
        return {
            name: self.decode(member)
            for name, member in value.items()
            if member is not None or name not in self.absent
        }


@dataclass(frozen=True, slots=True)
class StrictSchema:
    """A schema that strict mode accepts, and the way back from its answers.

    Attributes:
        schema: The JSON schema to send.
        identity: True when an answer already has the shape of the original schema: `restore`
            changes nothing, and the raw bytes can be validated directly.
    """

    schema: dict[str, Any]
    identity: bool = True
    _wrapped: bool = field(default=False, repr=False)
    _encoding: _Encoding = field(default_factory=_Encoding, repr=False)

    def restore(self, answer: Any) -> Any:
        """Give `answer` the shape that the original schema describes.

        Args:
            answer: The decoded JSON of an answer made under `schema`. It is not changed.

        Returns:
            The JSON value to validate, best in Pydantic's JSON mode (dumped, then
            `validate_json`), which strict models rely on. Parts that do not follow `schema` come
            back as they are; validation refuses them.
        """
        if self.identity:
            return answer
        if self._wrapped and isinstance(answer, dict) and answer.keys() == {"value"}:
            answer = answer["value"]
        return self._encoding.decode(answer)


def to_strict(schema: Mapping[str, Any]) -> StrictSchema:
    """Convert a schema made by Pydantic into one for OpenAI's strict structured outputs.

    Properties that are not required because they have a default become required. Those without a
    default (`NotRequired` keys, default factories) may be null instead, unless the schema has a
    property of that name to which null is a value: then they are simply required too.

    Args:
        schema: The output of `TypeAdapter(T).json_schema()` in validation mode; never changed.

    Returns:
        The strict schema, with the function that turns its answers back.

    Raises:
        ValueError: A `$ref` does not name an entry of the root's `$defs`.
    """
    draft = _Converter(schema, _Encoding())  # only for the names that the schema uses
    root, _ = draft.root()
    encoding = _encoding_for(draft.members, root.get("$defs", {}))
    converter = _Converter(schema, encoding)
    root, wrapped = converter.root()
    identity = not (wrapped or converter.encodes or encoding.absent)
    return StrictSchema(root, identity, wrapped, encoding)


class _Converter:
    """One conversion of one schema; `members` are the properties it met."""

    def __init__(self, source: Mapping[str, Any], encoding: _Encoding) -> None:
        self.source = source
        self.defs: Mapping[str, Any] = source.get("$defs", {})
        self.encoding = encoding
        self.encodes = False
        self.any_name = unlike("JsonValue", self.defs)
        self.any_used = False
        self.members: list[tuple[str, bool, Schema]] = []  # name, optional, converted

    def root(self) -> tuple[Schema, bool]:
        """The whole strict schema, and whether its root had to be wrapped."""
        source = {key: value for key, value in self.source.items() if key != "$defs"}
        root = self.convert(self.target(source))
        wrapped = root.get("type") != "object"
        if wrapped:
            root = _closed({"value": self.convert(source)})
        defs = {name: self.convert(entry) for name, entry in self.defs.items()}
        if self.any_used:
            kinds = [{"type": kind} for kind in ("string", "number", "boolean", "null")]
            members = [*kinds, self.convert({"type": "array"}), self.mapping({})]
            defs[self.any_name] = {"anyOf": members}
        return ({**root, "$defs": defs} if defs else root), wrapped

    def target(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The target of a reference, with its own keywords laid over; `node` if it is not one."""
        while "$ref" in node:
            name = node["$ref"].removeprefix(_DEFS)
            if name not in self.defs:
                raise ValueError(f"the schema refers to {node['$ref']!r}, which it does not define")
            node = {**self.defs[name], **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    def merged(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """`node` with its `allOf`, which strict mode does not know, folded in."""
        parts = node.get("allOf", ())
        rest = {key: value for key, value in node.items() if key != "allOf"}
        if len(parts) == 1 and not rest.keys() & {"$ref", "type", "properties", "anyOf", "oneOf"}:
            return {**parts[0], **rest}
        for part in parts:
            above = self.merged(self.target(part))
            properties = {**above.get("properties", {}), **rest.get("properties", {})}
            required = [*above.get("required", ()), *rest.get("required", ())]
            own = {"properties": properties, "required": required} if properties else {}
            rest = {**above, **rest, **own}
        return rest

    def convert(self, node: Any) -> Schema:
        if not isinstance(node, Mapping):  # true and false are schemas too
            return self.anything("") if node else {"type": "null"}
        node = self.merged(node)
        if "$ref" in node:
            self.target(node)  # refuses a reference to nothing
            return _any_of([{"$ref": node["$ref"]}], _notes(node))
        values = [node["const"]] if "const" in node else node.get("enum")
        if values is not None:
            return self.choice(node, values)
        branches = node.get("anyOf") or node.get("oneOf")
        if branches and "properties" not in node:
            members = [self.convert(branch) for branch in branches]
            return _any_of(members, _notes(node, ("anyOf", "oneOf")))
        return self.typed(node, _kind(node))

    def typed(self, node: Mapping[str, Any], kind: str | list[str] | None) -> Schema:
        if isinstance(kind, list):
            return _any_of([self.typed(node, one) for one in kind], "")
        if kind == "object":
            return self.record(node)
        if kind == "array":
            return self.sequence(node)
        return _leaf(node, kind) if kind else self.anything(_notes(node))

    def choice(self, node: Mapping[str, Any], values: Sequence[Any]) -> Schema:
        """One of several values, grouped by type, as strict mode requires."""
        groups: dict[str | None, list[Any]] = {}
        for value in values:
            groups.setdefault(_TYPES.get(type(value)), []).append(value)
        if None in groups:  # lists or objects, whose exact content cannot be asked for
            return self.anything(sentences(_notes(node), f"One of: {_json(values)}."))
        enums = {kind: {"enum": own} for kind, own in groups.items() if kind != "null"}
        return _any_of([{"type": kind, **enums.get(kind, {})} for kind in groups], _notes(node))

    def record(self, node: Mapping[str, Any]) -> Schema:
        """An object with declared properties, or else a mapping."""
        properties = node.get("properties")
        extra = node.get("additionalProperties", properties is None)
        if not properties and (extra is not False or "patternProperties" in node):
            return _described(self.mapping(node), _notes(node, ("minProperties", "maxProperties")))
        required = node.get("required", ())
        members = {
            name: self.member(name, child, name in required)
            for name, child in (properties or {}).items()
        }
        return _described(_closed(members), _notes(node))

    def member(self, name: str, node: Any, required: bool) -> Schema:
        optional = not required and not (isinstance(node, Mapping) and "default" in node)
        converted = self.convert(node)
        self.members.append((name, optional, converted))
        if optional and name in self.encoding.absent:
            return _any_of([converted, {"type": "null"}], "Null to leave it out.")
        return converted

    def mapping(self, node: Mapping[str, Any]) -> Schema:
        """Any number of keys, as a list of entries."""
        self.encodes = True
        patterns = node.get("patternProperties", {})
        kinds = [({"pattern": pattern}, child) for pattern, child in patterns.items()]
        extra = node.get("additionalProperties", not kinds)
        if extra is not False:
            kinds.append((node.get("propertyNames", {}), extra))
        pairs = [_closed({"key": self.key(k), "value": self.convert(v)}) for k, v in kinds]
        entries: Schema = {"type": "array", "items": _any_of(pairs, "")}
        for limit in ("min", "max"):
            if f"{limit}Properties" in node:
                entries[f"{limit}Items"] = node[f"{limit}Properties"]
        return _closed({self.encoding.entries: entries})

    def key(self, names: Mapping[str, Any]) -> Schema:
        """The schema of a mapping's key: a string, whatever type it is read into."""
        target = self.merged(self.target(names))
        values = [target["const"]] if "const" in target else target.get("enum")
        if values is None:
            return _leaf(target, "string")
        return {"type": "string", "enum": [v if isinstance(v, str) else _json(v) for v in values]}

    def sequence(self, node: Mapping[str, Any]) -> Schema:
        """A list; or a tuple, with a property for each position unless all are alike."""
        prefix = node.get("prefixItems", ())  # in named tuples the titles are the fields' names
        members = [_any_of([self.convert(member)], member.get("title", "")) for member in prefix]
        if any(member != members[0] for member in members) and "items" not in node:
            self.encodes = True
            named = {f"{self.encoding.item}{n}": member for n, member in enumerate(members, 1)}
            return _described(_closed(named), _notes(node, ("minItems", "maxItems")))
        if "items" in node or not members:
            rest = False if node.get("maxItems") == 0 else node.get("items", True)
            members.append(self.convert(rest))
        bare = {key: value for key, value in node.items() if key != "prefixItems"}
        return {**_leaf(bare, "array"), "items": _any_of(members, "")}

    def anything(self, notes: str) -> Schema:
        self.any_used = True
        return _any_of([{"$ref": _DEFS + self.any_name}], notes)


def _encoding_for(members: Sequence[tuple[str, bool, Schema]], defs: Schema) -> _Encoding:
    """The encoding whose names a schema with these properties does not use."""
    names = {name for name, _, _ in members}
    optional = {name for name, may_lack, _ in members if may_lack}
    nullable = {name for name, _, schema in members if _takes_null(schema, defs)}
    item = "item_"
    while any(name.startswith(item) for name in names):
        item += "_"
    return _Encoding(unlike("entries", names), item, frozenset(optional - nullable))


def _takes_null(schema: Schema, defs: Schema) -> bool:
    """Whether null is a value of a strict schema."""
    if "$ref" in schema:
        return _takes_null(defs[schema["$ref"].removeprefix(_DEFS)], defs)
    branches = schema.get("anyOf", ())
    return schema.get("type") == "null" or any(_takes_null(branch, defs) for branch in branches)


def unlike(name: str, names: Container[str]) -> str:
    """A name that is not one of several, with underscores at its end."""
    while name in names:
        name += "_"
    return name


def _kind(node: Mapping[str, Any]) -> str | list[str] | None:
    """The type or types of `node`, derived from its keywords if it names none."""
    implied = (kind for kind, own in _KEYWORDS.items() if any(key in node for key in own))
    kind: str | list[str] | None = node.get("type") or next(implied, None)
    return kind


def _leaf(node: Mapping[str, Any], kind: str) -> Schema:
    """`node` as one type, with the keywords strict mode knows for it and the others in words."""
    keywords = {key: node[key] for key in _KEYWORDS.get(kind, ()) if key in node}
    if keywords.get("format") not in _FORMATS:
        keywords.pop("format", None)
    if _DIALECT.search(keywords.get("pattern", "")):
        del keywords["pattern"]
    return _described({"type": kind, **keywords}, _notes(node, keywords))


def _closed(properties: Schema) -> Schema:
    shape = {"properties": properties, "required": list(properties)}
    return {"type": "object", **shape, "additionalProperties": False}


def _any_of(branches: Iterable[Schema], notes: str) -> Schema:
    flat: list[Schema] = []
    for branch in branches:
        inner = branch["anyOf"] if branch.keys() == {"anyOf"} else [branch]
        flat += [member for member in inner if member not in flat]
    if len(flat) == 1 and not (notes and "$ref" in flat[0]):  # a $ref has no keyword beside it
        return _described(flat[0], notes)
    return _described({"anyOf": flat}, notes)


def _described(schema: Schema, notes: str) -> Schema:
    text = sentences(notes, schema.get("description", ""))
    return {**schema, "description": text} if text else schema


def _notes(node: Mapping[str, Any], keywords: Container[str] = ()) -> str:
    """The description of `node`, and its keywords in words, except those in `keywords`."""
    return sentences(node.get("description", ""), *phrases(node, keywords))


def phrases(node: Mapping[str, Any], keywords: Container[str] = ()) -> list[str]:
    """The keywords of a schema in words.

    Args:
        node: The schema.
        keywords: Those to leave out.
    """
    others = [key for key in _PHRASES if key in node and key not in keywords]
    return [_phrase(k, node[k]) for k in others if node[k] is not False or k == "default"]


def _phrase(keyword: str, value: Any) -> str:
    if keyword == "examples":
        value = ", ".join(map(_json, value))
    elif keyword == "default" or not isinstance(value, str):
        value = _json(value)
    phrase = _PHRASES[keyword].format(value)
    return phrase.replace("s.", ".") if value == "1" else phrase  # "At least 1 character."


def sentences(*parts: str) -> str:
    """Sentences, joined; each ends with a full stop, except a single one."""
    texts = [part.strip() for part in parts if part.strip()]
    if len(texts) < 2:
        return "".join(texts)
    return " ".join(text if text[-1] in ".!?:;" else text + "." for text in texts)


def _is_pairs(entries: Any) -> bool:
    """Whether `entries` has the form of a mapping in an answer."""
    return isinstance(entries, list) and all(
        isinstance(pair, dict) and pair.keys() == {"key", "value"} and isinstance(pair["key"], str)
        for pair in entries
    )
