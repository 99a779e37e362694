"""Nothing on the wire differs from etcd, is missing, or is more than etcd has.

The table beside this file is data taken from etcd's own descriptors, not from ours.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

import kvstore.proto
from kvstore.proto.reflection import is_repeated

WIRE: dict[str, Any] = json.loads(Path(__file__).with_name("etcd_wire.json").read_text())

KINDS = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}
SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def files() -> Iterator[FileDescriptor]:
    for module in pkgutil.iter_modules(kvstore.proto.__path__, "kvstore.proto."):
        if module.name.endswith("_pb2"):
            yield importlib.import_module(module.name).DESCRIPTOR


def all_messages() -> Iterator[Descriptor]:
    """Every message; not the entries that stand for a map field."""
    pending = [message for file in files() for message in file.message_types_by_name.values()]
    while pending:
        message = pending.pop()
        pending += message.nested_types
        if not message.GetOptions().map_entry:
            yield message


def all_enums() -> Iterator[EnumDescriptor]:
    for file in files():
        yield from file.enum_types_by_name.values()
    for message in all_messages():
        yield from message.enum_types


def all_methods() -> Iterator[MethodDescriptor]:
    for file in files():
        for service in file.services_by_name.values():
            yield from service.methods


def type_name(field: FieldDescriptor) -> str:
    if field.enum_type:
        return field.enum_type.full_name
    if not field.message_type:
        return SCALARS[field.type]
    if field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map<{type_name(key)},{type_name(value)}>"
    return field.message_type.full_name


def flags(field: FieldDescriptor) -> list[str]:
    found = []
    if is_repeated(field):
        found.append("repeated")
    if field.is_packed:
        found.append("packed")
    if field.containing_oneof:
        found.append(f"oneof:{field.containing_oneof.name}")
    return found


def field_row(field: FieldDescriptor) -> list[Any]:
    return [field.number, field.name, type_name(field), flags(field)]


def method_row(method: MethodDescriptor) -> list[str]:
    kind = KINDS[method.client_streaming, method.server_streaming]
    return [kind, method.input_type.full_name, method.output_type.full_name]


def paths(methods: Iterable[MethodDescriptor]) -> dict[str, MethodDescriptor]:
    return {f"/{method.containing_service.full_name}/{method.name}": method for method in methods}


class TestEtcdWire:
    def test_methods_are_exactly_those_of_etcd(self) -> None:
        ours = {path: method_row(method) for path, method in paths(all_methods()).items()}

        assert WIRE["methods"] == ours

    def test_messages_are_exactly_those_of_etcd(self) -> None:
        assert sorted(WIRE["messages"]) == sorted(message.full_name for message in all_messages())

    @pytest.mark.parametrize("name", WIRE["messages"])
    def test_fields_of_a_message_are_exactly_those_of_etcd(self, name: str) -> None:
        message = next(message for message in all_messages() if message.full_name == name)

        assert WIRE["messages"][name] == sorted(map(field_row, message.fields))

    def test_enums_are_exactly_those_of_etcd(self) -> None:
        ours = {
            enum.full_name: [[value.name, value.number] for value in enum.values]
            for enum in all_enums()
        }

        assert WIRE["enums"] == ours

    def test_totals_are_those_of_etcd(self) -> None:
        ours = {
            "services": sum(len(file.services_by_name) for file in files()),
            "methods": len(list(all_methods())),
            "messages": len(list(all_messages())),
            "fields": sum(len(message.fields) for message in all_messages()),
            "enums": len(list(all_enums())),
            "values": sum(len(enum.values) for enum in all_enums()),
        }

        assert WIRE["totals"] == ours

    def test_a_scalar_outside_a_oneof_has_no_presence(self) -> None:
        """A zero is not sent, so a reader cannot tell it from a field left out."""
        with_presence = [
            f"{message.full_name}.{field.name}"
            for message in all_messages()
            for field in message.fields
            if field.has_presence and not field.message_type and not field.containing_oneof
        ]

        assert with_presence == []
