"""Reads the YAML of study files and of ``--set`` by the core schema of YAML 1.2.

PyYAML follows YAML 1.1. There ``no`` is false, ``010`` is eight, ``1e-4`` is a string, ``12:30`` is
a number, and the second of two equal keys wins silently. Here words are text (``no`` is Norwegian),
numbers are decimal unless they begin with ``0x`` or ``0o``, dates are text, and a repeated key is
refused. Merge keys (``<<``) of YAML 1.1 are kept.
"""

import re
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_VALUES = 100_000
"""Largest number of values in a document with aliases expanded; a study has hundreds."""

_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = {
    "null": (r"null|Null|NULL|~|", "nN~\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "merge": (r"<<", "<"),
}
"""Kind -> the whole of such a plain scalar, and the characters that it may begin with."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the plain scalars of YAML 1.2, and no kinds of value but them."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, of this class alone
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if not str(tag).endswith(("binary", "timestamp", "omap", "pairs", "set"))
    }

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise _problem("the name of a field must be text, not a list or a mapping", key)
            if key.tag != _MERGE and key.value in lines:
                raise _problem(
                    f"the key {key.value!r} is repeated; it is first in line {lines[key.value]}",
                    key,
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))

    def construct_yaml_float(self, node: ScalarNode) -> float:
        text = self.construct_scalar(node).lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts in quotes what the loader would not read as a text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, of this class alone

    def represent_text(self, text: str) -> ScalarNode:
        # Outside of double quotes these are line breaks, which are read as a space or a line feed.
        style = '"' if re.search(r"[\r\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
for _kind, (_pattern, _first) in _PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}",
            re.compile(f"(?:{_pattern})$"),
            ["" if first == "\0" else first for first in _first],
        )
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def read_yaml(text: str) -> Any:
    """The one document of a text.

    Raises:
        yaml.YAMLError: it is not YAML, a key is repeated, an alias contains itself, or it has more
            than ``MAX_VALUES`` values with aliases expanded.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, [])
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except (ValueError, KeyError) as error:  # !!int of a word, a number of 5,000 digits
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def dump_yaml(tree: Any) -> str:
    """A tree of JSON's types as a text that ``read_yaml`` reads as the same tree."""
    dumped: str = yaml.dump(tree, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=100)
    return dumped


def comment_in(text: str) -> str:
    """The part of a value that YAML reads as a comment; empty if there is none."""
    tokens = [
        token
        for token in yaml.scan(text, yaml.SafeLoader)
        if not isinstance(token, yaml.StreamEndToken | yaml.StreamStartToken)
    ]
    end = max((token.end_mark.index for token in tokens), default=0)
    return text[end:].strip()


def _count(node: Node, above: list[Node], counted: int = 0) -> int:
    """Count the values of a node with its aliases expanded, on top of ``counted``."""
    if any(node is one for one in above):
        raise _problem("an alias contains itself", node)
    if counted >= MAX_VALUES:
        raise _problem(f"more than {MAX_VALUES:,} values with aliases expanded", node)
    counted += 1
    below: list[Node] = []
    if isinstance(node, MappingNode):
        below = [value for _, value in node.value]
    elif isinstance(node, SequenceNode):
        below = node.value
    for one in below:
        counted = _count(one, [*above, node], counted)
    return counted


def _problem(message: str, node: Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)
