"""JSON to messages, as Go's protojson reads it with unknown fields discarded.

google.protobuf.json_format takes what protojson refuses (base64 with characters that are none of
it), so this is our own. The texts of errors are Go's, without the line and column that protojson
adds: those it does not promise to keep.

    document   encoding/json finds its end and its errors; at most 10,000 brackets in one another
    message    protojson fills it; numbers are read digit by digit, in any notation
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kvstore.errors import TooManyOperations
from kvstore.proto import rpc_pb2
from kvstore.proto.reflection import is_repeated
from kvstore.server.gateway.json_syntax import CUT_OFF, MARK, not_json, syntax_error
from kvstore.server.status import Code, StatusError

__all__ = ["first_document"]

M = TypeVar("M", bound=Message)

_Convert: TypeAlias = Callable[[FieldDescriptor, Any], Any]
"""None for a value that the field cannot have."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(
    r"(-?)(?:0|([1-9][0-9]*))(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?(?![-+.\w])", re.ASCII
)
"""Sign, digits, fraction and exponent. What follows in a string is not looked at, as in Go."""
_MOST_DIGITS: Final = 20
"""Of a whole number of 64 bits."""
_MOST_BRACKETS: Final = 10_000
_MOST_LOOKED_AT: Final = 256 * 1024
"""Characters of a document that is too deep for us, which tell whether it is for Go, too."""
_RANGES: Final = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: ("uint64", 0, 2**64 - 1),
}


class _Object(list[tuple[str, Any]]):
    """A JSON object with its names in order, the repeated ones too."""


class _Number(str):
    """A number as it stands in the text."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_float=_Number,
    parse_int=_Number,
    parse_constant=not_json,
)


def first_document(kind: type[M], body: bytes, *, fault: str = "") -> M:
    """The message in the first document of `body`; what follows is not looked at.

    An empty body is an empty message. `fault` says why the body is not whole: it is told when the
    document is not whole either. Raises StatusError, InvalidArgument.
    """
    message = kind()
    text = body.decode("utf-8", "surrogateescape")
    start = _SPACE.match(text)
    assert start is not None
    if start.end() < len(text):
        try:
            _fill(message, _document(text, start.end(), body, fault))
        except RecursionError:
            raise _too_deep(kind, text) from None
    elif fault:
        raise _refused(fault)
    return message


def _document(text: str, start: int, body: bytes, fault: str) -> Any:
    """The first document of `text`, which is `body`. Raises StatusError."""
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        why = syntax_error(text, error)
        raise _refused(fault or why if why == CUT_OFF else why) from None
    except ValueError as error:
        raise _refused(str(error)) from None
    _check_characters(document, text[:end], body)
    return document


def _check_characters(document: Any, text: str, body: bytes) -> None:
    """Raises StatusError for strings, of unknown fields too, that are no Unicode.

    Protobuf fails on them in ways of its own. `text` is all that was read of `body`.
    """
    if not body.isascii() and not _is_unicode(text):
        raise _refused("proto: syntax error: invalid UTF-8 in string")
    if b"\\u" in body and not _is_unicode(json.dumps(document, default=str, ensure_ascii=False)):
        raise _refused("proto: syntax error: invalid escape code in string")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(text: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, text)


def _too_deep(kind: type[Message], text: str) -> StatusError:
    """What etcd says of a document that is too deep for Python, though not always for Go."""
    depth = 0
    for mark in MARK.finditer(text, 0, _MOST_LOOKED_AT):
        if mark[0] in "[{":
            depth += 1
            if depth > _MOST_BRACKETS:
                return _refused(f"invalid character '{mark[0]}' exceeded max depth")
        elif mark[0] in "]}":
            depth -= 1
    if kind is rpc_pb2.TxnRequest:
        return _refused(TooManyOperations.message)
    return _refused("proto: exceeded max recursion depth")


# -- messages ------------------------------------------------------------------------------------


@lru_cache(None)
def _fields(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """By both names that a field has."""
    return {name: field for field in kind.fields for name in (field.json_name, field.name)}


def _fill(message: Message, document: Any) -> None:
    if not isinstance(document, _Object):
        raise _refused(f"proto: syntax error: unexpected token {_token(document)}")
    fields = _fields(message.DESCRIPTOR)
    seen: set[int] = set()
    for name, value in document:
        field = fields.get(name)
        if field is None:
            continue
        if field.number in seen:
            raise _refused(f"proto: duplicate field {json.dumps(name)}")
        seen.add(field.number)
        if value is None:
            continue
        oneof = field.containing_oneof
        if oneof is not None and message.WhichOneof(oneof.name) is not None:
            raise _refused(
                f"proto: error parsing {json.dumps(name)}, "
                f"oneof {message.DESCRIPTOR.full_name}.{oneof.name} is already set"
            )
        if is_repeated(field):
            _fill_list(message, field, value)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _fill(inner, value)
        else:
            scalar = _scalar(field, value)
            if scalar is not None:
                setattr(message, field.name, scalar)


def _fill_list(message: Message, field: FieldDescriptor, values: Any) -> None:
    if not isinstance(values, list) or isinstance(values, _Object):
        raise _refused(f"proto: syntax error: unexpected token {_token(values)}")
    target = getattr(message, field.name)
    for value in values:
        if field.message_type is not None:
            _fill(target.add(), value)
        else:
            scalar = _scalar(field, value)
            if scalar is not None:
                target.append(scalar)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    """None for the name of an enum value that is not known: it is left out."""
    convert: _Convert = _CONVERT.get(field.cpp_type, _integer)
    converted = convert(field, value)
    if converted is None and field.enum_type is None:
        raise _invalid(field, value)
    return converted


def _invalid(field: FieldDescriptor, value: Any) -> StatusError:
    if field.type == FieldDescriptor.TYPE_BYTES:
        kind = "bytes"
    elif field.enum_type is not None:
        kind = "enum"
    elif field.cpp_type in _RANGES:
        kind = _RANGES[field.cpp_type][0]
    else:
        kind = "bool" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "string"
    return _refused(f"proto: invalid value for {kind} field {field.json_name}: {_token(value)}")


def _token(value: Any) -> str:
    """The first token of a value, as it stood in the text."""
    if isinstance(value, _Object):
        return "{"
    if isinstance(value, list):
        return "["
    if isinstance(value, _Number):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _bool(field: FieldDescriptor, value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(field: FieldDescriptor, value: Any) -> int | None:
    """A number without a fraction, or a string that begins with one."""
    return _whole(value, *_RANGES[field.cpp_type][1:]) if isinstance(value, str) else None


def _enum(field: FieldDescriptor, value: Any) -> int | None:
    if isinstance(value, _Number):
        number = _whole(value, -(2**31), 2**31 - 1)
        if number is not None:
            return number
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _invalid(field, value)
    assert field.enum_type is not None
    known = field.enum_type.values_by_name.get(value)
    return None if known is None else known.number


def _whole(text: str, low: int, high: int) -> int | None:
    """The value of a number in any notation if it is whole, as protojson sees it.

    It is shifted digit by digit, so an exponent costs nothing; None also for too many digits.
    """
    parts = _NUMBER.match(text)
    if parts is None or text[-1].isspace():
        return None
    sign, digits, fraction, exponent = (part or "" for part in parts.groups())
    fraction = fraction.rstrip("0")
    if not digits and not fraction:
        return 0
    if len(exponent) > _MOST_DIGITS:
        return None
    shift = int(exponent or "0")
    if shift >= 0:
        if len(fraction) > shift or len(digits) + shift > _MOST_DIGITS:
            return None
        digits += fraction + "0" * (shift - len(fraction))
    else:
        end = len(digits) + shift
        if fraction or end <= 0 or digits[end:].strip("0"):
            return None
        digits = digits[:end]
    number = int(sign + digits)
    return number if low <= number <= high else None


def _string(field: FieldDescriptor, value: Any) -> str | bytes | None:
    if not isinstance(value, str) or isinstance(value, _Number):
        return None
    return _base64(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _base64(text: str) -> bytes | None:
    """Either alphabet, padded or not."""
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            return None
        text = text.replace("-", "+").replace("_", "/")
    if len(text) % 4:
        if "=" in text:
            return None
        text += "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


_CONVERT: Final[dict[int, _Convert]] = {
    FieldDescriptor.CPPTYPE_BOOL: _bool,
    FieldDescriptor.CPPTYPE_ENUM: _enum,
    FieldDescriptor.CPPTYPE_STRING: _string,
}
