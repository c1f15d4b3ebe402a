"""Strict YAML: the core schema of YAML 1.2, no duplicate keys, no aliases, and the line of every value.

PyYAML alone reads YAML 1.1, where `no` (Norwegian) is False, `1e-5` is a string and a repeated key silently wins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from structkd.errors import RecipeError
from structkd.recipe.faults import Fault, Path, Position, dotted, refusal

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|false")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CORE = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}
_TAG = "tag:yaml.org,2002:"
_UNTAGGED = {_TAG + "str", _TAG + "seq", _TAG + "map", "!"}


@dataclass
class Document:
    """A YAML file as plain values, with the position of each of them by path."""

    source: str
    data: Any
    positions: dict[Path, Position] = field(default_factory=dict)

    def position(self, path: Path) -> Position | None:
        """Where the value at `path` stands, or else the closest value around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return None


class _Loader(yaml.SafeLoader):
    """Scanner and composer of PyYAML without its YAML 1.1 ideas of what a plain word means."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # declared so in PyYAML

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            problem = "aliases (*name) are not supported; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, self.peek_event().start_mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as something other than the string it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_list(self, data: Any) -> yaml.SequenceNode:
        short = not any(isinstance(item, (dict, list)) for item in data)
        return self.represent_sequence(_TAG + "seq", data, flow_style=short)


_Dumper.add_representer(list, _Dumper.represent_list)
for _name, _pattern in _CORE.items():
    _Dumper.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern.pattern})$"), None)


def read_yaml(text: str, source: str) -> Document:
    """Parse one YAML document.

    Args:
        text: the document.
        source: its name in messages and positions.

    Raises:
        RecipeError: it is not YAML, or repeats keys, or uses aliases or tags; every fault is named with its line.
    """
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise refusal(source, [Fault((), f"not valid YAML: {problem}", Position(source, line))]) from error
    except yaml.YAMLError as error:
        raise refusal(source, [Fault((), f"not valid YAML: {error}")]) from error
    reader = _Reader(source)
    data = reader.value(root, ()) if root is not None else None
    if reader.faults:
        raise refusal(source, reader.faults)
    return Document(source, data, reader.positions)


def read_yaml_value(text: str) -> Any:
    """Parse the value of `--set a.b=value` by the rules of the files."""
    return read_yaml(text, "--set").data


def write_yaml(value: Any) -> str:
    """Write plain values so that `read_yaml` gives them back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def set_value(document: Document, assignment: str) -> None:
    """Carry out `--set a.b=value` on a document; list items are named by number, missing mappings are made.

    A `*` stands for every item of a list: `teachers.*.training.epochs=3`.

    Raises:
        RecipeError: the assignment has no `=`, or its path runs through a value that is no mapping or list.
    """
    _, equals, text = assignment.partition("=")
    path = assignment_path(assignment)
    if not equals or not all(part != "" for part in path):
        raise RecipeError(f"--set {assignment}: expected a path and a value, as in student.training.epochs=3")
    if "*" in path:
        for written_out in _each_item(document.data, path, assignment):
            set_value(document, f"{dotted(written_out)}={text}")
        return
    value = read_yaml_value(text)
    parent = document.data
    for depth, part in enumerate(path[:-1]):
        if isinstance(parent, dict) and parent.get(str(part)) is None:
            parent[str(part)] = {}
        parent = _item(parent, part, path[: depth + 1], assignment)
    if isinstance(parent, list):
        _item(parent, path[-1], path, assignment)
        parent[int(path[-1])] = value
    elif isinstance(parent, dict):
        parent[str(path[-1])] = value
    else:
        _item(parent, path[-1], path, assignment)
    for known in [known for known in document.positions if known[: len(path)] == path]:
        del document.positions[known]
    document.positions[path] = Position("--set")


def assignment_path(assignment: str) -> Path:
    """The path of `--set a.0.b=value`: words, and numbers for list items."""
    name = assignment.partition("=")[0].strip()
    return tuple(int(part) if part.isdecimal() else part for part in name.split("."))


def _each_item(data: Any, path: Path, assignment: str) -> list[Path]:
    """The path with its first `*` replaced by each number of the list there."""
    place = path.index("*")
    found = data
    for depth, part in enumerate(path[:place]):
        found = found.get(str(part)) if isinstance(found, dict) else _item(found, part, path[: depth + 1], assignment)
    if not isinstance(found, list):
        raise RecipeError(f"--set {assignment}: {dotted(path[:place])} is no list, expected a key in place of '*'")
    return [(*path[:place], index, *path[place + 1 :]) for index in range(len(found))]


def _item(parent: Any, part: str | int, path: Path, assignment: str) -> Any:
    if isinstance(parent, dict):
        return parent[str(part)]
    if isinstance(parent, list):
        if isinstance(part, int) and part < len(parent):
            return parent[part]
        raise RecipeError(
            f"--set {assignment}: {dotted(path[:-1])} is a list of {len(parent)}, expected a number from 0 to "
            f"{len(parent) - 1} in place of {part!r}"
        )
    raise RecipeError(f"--set {assignment}: {dotted(path[:-1]) or 'the file'} is {parent!r}, not a mapping or a list")


class _Reader:
    """Turns composed nodes into values, and collects faults."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self.positions: dict[Path, Position] = {}

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.positions[path] = Position(self.source, node.start_mark.line + 1)
        if node.tag not in _UNTAGGED:
            self._fault(path, f"tags are not supported, got {node.tag!r}", node)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(path, "expected a word as key, got a list or mapping", key_node)
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in result:
                self._fault((*path, key), f"duplicate key, already on line {first_lines[key]}", key_node)
                continue
            first_lines[key] = line
            result[key] = self.value(value_node, (*path, key))
            self.positions[(*path, key)] = Position(self.source, line)
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text: str = node.value
        if node.style is not None or node.tag == "!":  # quoted or block style: always a string
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text == "true"
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def _fault(self, path: Path, message: str, node: yaml.Node) -> None:
        self.faults.append(Fault(path, message, Position(self.source, node.start_mark.line + 1)))
