"""JSON to messages, as Go's protojson reads it with unknown fields discarded.

google.protobuf.json_format takes what protojson refuses (base64 with characters that are none of
it), so this is our own. The texts of errors are Go's, without the line and column that protojson
adds: those it does not promise to keep.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kvstore.proto.reflection import is_repeated
from kvstore.server.status import Code, StatusError

__all__ = ["first_document"]

M = TypeVar("M", bound=Message)

_Convert: TypeAlias = Callable[[FieldDescriptor, Any], Any]
"""None for a value that the field cannot have."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_EXPONENT: Final = 20
_CUT_OFF: Final = "unexpected EOF"
_RANGES: Final = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: ("uint64", 0, 2**64 - 1),
}


class _Object(list[tuple[str, Any]]):
    """A JSON object with its names in order, the repeated ones too."""


def _constant(text: str) -> Any:
    raise ValueError(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_float=Decimal,
    parse_int=Decimal,
    parse_constant=_constant,
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
            document, end = _DECODER.raw_decode(text, start.end())
        except json.JSONDecodeError as error:
            why = _syntax_error(text, error)
            raise _refused(fault or why if why == _CUT_OFF else why) from None
        except (ValueError, RecursionError, ArithmeticError):
            raise _refused("proto: syntax error: invalid value") from None
        try:
            _check_characters(document, text[:end], body)
            _fill(message, document)
        except RecursionError:
            raise _refused("proto: exceeded max recursion depth") from None
    elif fault:
        raise _refused(fault)
    return message


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


def _syntax_error(text: str, error: json.JSONDecodeError) -> str:
    """What Go's scanner says in this place."""
    at = min(error.pos, len(text))
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    if at == len(text) or error.msg.startswith("Unterminated string"):
        return _CUT_OFF
    place = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key "
        "string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Invalid control character at": "in string literal",
        "Invalid \\escape": "in string escape code",
    }.get(error.msg.partition(": ")[0], "looking for beginning of value")
    return f"invalid character {_quoted(text[at])} {place}"


def _quoted(character: str) -> str:
    if character in "'\\":
        return f"'\\{character}'"
    return "'\"'" if character == '"' else f"'{character}'"


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
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _bool(field: FieldDescriptor, value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(field: FieldDescriptor, value: Any) -> int | None:
    """A number without a fraction, or a string of one."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if not isinstance(value, Decimal) or value.adjusted() > _MAX_EXPONENT:
        return None
    _, low, high = _RANGES[field.cpp_type]
    number = int(value)
    return number if number == value and low <= number <= high else None


def _enum(field: FieldDescriptor, value: Any) -> int | None:
    if isinstance(value, Decimal) and value.adjusted() <= _MAX_EXPONENT:
        number = int(value)
        if number == value and -(2**31) <= number < 2**31:
            return number
    if not isinstance(value, str):
        raise _invalid(field, value)
    assert field.enum_type is not None
    known = field.enum_type.values_by_name.get(value)
    return None if known is None else known.number


def _string(field: FieldDescriptor, value: Any) -> str | bytes | None:
    if not isinstance(value, str):
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
