"""The descriptor pool of kvstore's messages, and the classes made from it.

protobuf keeps one default pool in a process and refuses a second file that defines a name it has.
Generated modules usually meet there, which would shut out every other library that brings etcd's
messages or the health protocol. Its builder for generated modules also adds each class to the
default pool in the pure Python implementation, so the classes are built here instead.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.reflection import GeneratedProtocolMessageType

__all__ = ["define"]

_POOL = DescriptorPool()


def define(serialized: bytes, module: dict[str, Any]) -> FileDescriptor:
    """Add a file to the pool and its messages, enums and enum values to a module.

    Args:
        serialized: the FileDescriptorProto, without the files it imports; define those first.
        module: globals() of the module, which gets one name for each top-level definition.

    Returns:
        The descriptor of the file, for the module's DESCRIPTOR.
    """
    file: FileDescriptor = _POOL.AddSerializedFile(serialized)
    for name, enum in file.enum_types_by_name.items():
        module[name] = EnumTypeWrapper(enum)
        module.update((value.name, value.number) for value in enum.values)
    for name, message in file.message_types_by_name.items():
        module[name] = _message_class(message, name, module["__name__"])
    return file


def _message_class(
    message: Descriptor, qualname: str, module_name: str
) -> GeneratedProtocolMessageType:
    members: dict[str, Any] = {
        nested.name: _message_class(nested, f"{qualname}.{nested.name}", module_name)
        for nested in message.nested_types
    }
    members |= {"DESCRIPTOR": message, "__module__": module_name, "__qualname__": qualname}
    return GeneratedProtocolMessageType(message.name, (Message,), members)
