"""Transforms that a recipe gives as text, such as `OneOf([MotionBlur(5), GaussNoise()], p=0.3)`.

The text is parsed and never run: it may hold calls, by name, of albumentations' transforms and of the rows of
TRANSFORMS, with literals, lists and tuples as arguments. So a `recipe.json` carries it, and so does the command line.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from imettk.config.choices import TRANSFORMS
from imettk.errors import ConfigError

MODULES = ("A", "albumentations")  # a transform may be written as in a notebook: `A.HorizontalFlip()`
BASES = {"BaseCompose", "BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D"}
# They need a function, other images, or an annotation of each image.
WITHHELD = {"FDA", "HistogramMatching", "Lambda", "MaskDropout", "Mosaic", "OverlayElements", "TextImage"}
WITHHELD |= {"PixelDistributionAdaptation"}
MOST_SHOWN = 80  # characters of a text in a message
# albumentations warns of transforms that it has twice, or that are slow; any other warning is about a wrong argument.
HARMLESS = r"specialized version|special case of|is an alias for|is very slow"


class Call(NamedTuple):
    """A call of a transform: its name and arguments, which may hold further calls."""

    name: str
    args: tuple[Any, ...]
    keywords: dict[str, Any]


class Constant(NamedTuple):
    """A constant of OpenCV by its name, such as `BORDER_REFLECT_101`."""

    name: str


@contextmanager
def quoting(text: str) -> Iterator[None]:
    """Put the text, or the beginning of a long one, before the message of a `ConfigError`."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{text if len(text) <= MOST_SHOWN else f'{text[:MOST_SHOWN]}...'!r}: {error}") from None


def parse(text: str) -> Call:
    """Return the call that a text spells; raise `ConfigError` if it holds anything else."""
    with quoting(text):
        return _parse(text)


def _parse(text: str) -> Call:
    try:
        call = _value(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ConfigError(f"not valid Python: {error.msg}") from None
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"not valid Python: {error}") from None
    except (RecursionError, MemoryError):
        raise ConfigError("nested too deeply") from None
    if not isinstance(call, Call):
        raise ConfigError("not a call; write it like HorizontalFlip(p=0.5)")
    return call


def _value(node: ast.AST) -> Any:
    """Return the value of a node, with calls and constants as objects that `build` resolves."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return (list if isinstance(node, ast.List) else tuple)(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        return {ast.literal_eval(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Call):
        return _call(node)
    if isinstance(node, ast.UnaryOp | ast.BinOp):
        return _number(node)
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "cv2" and node.attr.isupper():
        return Constant(node.attr)
    raise ConfigError(f"`{ast.unparse(node)}` is neither a literal nor a call of a transform")


def _call(node: ast.Call) -> Call:
    function = node.func
    if isinstance(function, ast.Attribute) and ast.unparse(function.value) in MODULES:
        name = function.attr
    elif isinstance(function, ast.Name):
        name = function.id
    else:
        raise ConfigError(f"`{ast.unparse(function)}` is not the name of a transform")
    if any(keyword.arg is None for keyword in node.keywords):
        raise ConfigError("`**` is neither a literal nor a call of a transform")
    keywords = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if len(keywords) < len(node.keywords):
        raise ConfigError(f"`{ast.unparse(node)}` gives an argument twice")
    return Call(name, tuple(_value(argument) for argument in node.args), keywords)


def _number(node: ast.UnaryOp | ast.BinOp) -> float:
    """Return a number with a sign, or a quotient such as `3 / 4`."""
    if isinstance(node, ast.UnaryOp):
        value: int | float = _value(node.operand)
        if isinstance(node.op, ast.USub | ast.UAdd) and type(value) in (int, float):
            return +value if isinstance(node.op, ast.UAdd) else -value
    else:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Div) and {type(left), type(right)} <= {int, float} and right != 0:
            return float(left / right)
    raise ConfigError(f"`{ast.unparse(node)}` is not a number")


def build(text: str, *, size: tuple[int, int]) -> Any:
    """Return the transform that a text spells.

    Args:
        size: (height, width) of the images that the network takes, for transforms with a `size` that the text omits.

    Raises:
        ConfigError: there is no such transform, or it does not take these arguments.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations 2.0.8 calls home when imported
    import albumentations

    known: dict[str, Any] = {name: row.load() for name, row in TRANSFORMS.items()}
    bases = (albumentations.BasicTransform, albumentations.BaseCompose)
    for name, kind in vars(albumentations).items():
        if name not in BASES | WITHHELD and isinstance(kind, type) and issubclass(kind, bases):
            known.setdefault(name, kind)
    with quoting(text), strict_warnings():
        return _resolve(_parse(text), known, size)


@contextmanager
def strict_warnings() -> Iterator[None]:
    """Raise warnings that albumentations gives about arguments or images that do not fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", f".*({HARMLESS})")
        yield


def _resolve(value: Any, known: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """Return a parsed value with its calls made and its constants looked up."""
    if isinstance(value, Call):
        args = [_resolve(item, known, size) for item in value.args]
        keywords = {name: _resolve(item, known, size) for name, item in value.keywords.items()}
        return _make(value.name, known, args, keywords, size)
    if isinstance(value, Constant):
        import cv2

        if not isinstance(number := getattr(cv2, value.name, None), int):
            raise ConfigError(f"cv2 has no constant {value.name}")
        return number
    if isinstance(value, dict):
        return {key: _resolve(item, known, size) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolve(item, known, size) for item in value)
    return value


def _make(name: str, known: Mapping[str, Any], args: list[Any], keywords: dict[str, Any], size: tuple[int, int]) -> Any:
    """Make one transform; raise `ConfigError` if there is none of this name, or it does not take these arguments."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise ConfigError(f"there is no transform {name}" + (f"; did you mean {near[0]}?" if near else ""))
    # albumentations only warns of an unknown keyword, and ignores a positional argument too many.
    signature = inspect.signature(known[name])
    if unknown := [keyword for keyword in keywords if keyword not in signature.parameters]:
        raise ConfigError(f"{name} takes {', '.join(signature.parameters)}, got {', '.join(unknown)}")
    try:
        bound = signature.bind_partial(*args, **keywords).arguments
        if "size" in signature.parameters and "size" not in bound:
            bound["size"] = size
        return known[name](**bound)
    except Exception as error:  # validators raise all kinds of errors, and warnings count as such
        raise ConfigError(f"{name}: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """Return an error's message as one line, without what pydantic adds to each fault."""
    text = re.sub(r"\[type=.*?input_type=\w+\]|For further information visit \S+|.* for InitSchema", "", str(error))
    lines = (line for line in text.splitlines() if line.strip())
    # pydantic writes a field, and indented under it the fault.
    text = "".join((": " if line[0] == " " else "; ") + line.strip() for line in lines)
    return text.lstrip(":; ") or type(error).__name__
