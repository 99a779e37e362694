"""Make the modules of kvstore.proto from the .proto files beside this script.

    python protos/generate.py [--out DIR]

For each protos/kvstore/proto/X.proto it writes kvstore/proto/X_pb2.py and X_pb2.pyi below DIR (the
root of the repository). The stub is protoc's. The module is ours: it hands the file's descriptor to
kvstore.proto._pool, which keeps the classes out of protobuf's default pool. Such a module has no
runtime version of protobuf to match.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

__all__ = ["generate", "main"]

PROTOS = Path(__file__).resolve().parent
NOTICE = "Made by `make proto` from protos/{source}; not to be edited."
WIDTH = 100


def generate(out: Path) -> list[Path]:
    """Write every module and stub below `out`.

    Returns:
        The files written, relative to `out`, ascending.

    Raises:
        SystemExit: protoc refuses a file; it has printed why.
    """
    written = []
    for file in _compile(out):
        module = Path(file.name.removesuffix(".proto") + "_pb2.py")
        (out / module).write_text(_module_text(file))
        stub = module.with_suffix(".pyi")
        (out / stub).write_text(_stub_text(file, (out / stub).read_text()))
        written += [module, stub]
    return sorted(written)


def _compile(out: Path) -> list[FileDescriptorProto]:
    """Run protoc on every source: stubs to `out`, descriptors as the result."""
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch, "descriptors")
        outputs = [f"--pyi_out={out}", f"--descriptor_set_out={descriptors}"]
        status = protoc.main(["protoc", f"-I{PROTOS}", *outputs, *sources])
        if status:
            raise SystemExit(status)
        return list(FileDescriptorSet.FromString(descriptors.read_bytes()).file)


def _module_text(file: FileDescriptorProto) -> str:
    for message in file.message_type:
        _clear_json_names(message)
    imports = sorted(["_pool"] + [Path(name).stem + "_pb2" for name in file.dependency])
    lines = [
        f'"""The package {file.package}. {NOTICE.format(source=file.name)}"""',
        "",
        f"from {'.'.join(Path(file.name).parent.parts)} import {', '.join(imports)}",
        "",
        "DESCRIPTOR = _pool.define(",
        *(f"    {literal}" for literal in _literals(file.SerializeToString(deterministic=True))),
        "    globals(),",
        ")",
    ]
    return "\n".join(lines) + "\n"


def _stub_text(file: FileDescriptorProto, stub: str) -> str:
    """protoc's stub, with the types of a Mapping, without which strict mypy refuses it."""
    typed = stub.replace(", _Mapping]", ", _Mapping[str, _Any]]")
    if typed != stub:
        typed = typed.replace("from typing import ", "from typing import Any as _Any, ", 1)
    return f"# {NOTICE.format(source=file.name)}\n{typed}"


def _clear_json_names(message: DescriptorProto) -> None:
    """Drop what protoc spells out and the runtime derives; all of ours are the derived ones."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _clear_json_names(nested)


def _literals(data: bytes) -> list[str]:
    """`data` as adjacent bytes literals of one line each, the last with a comma."""
    room = WIDTH - len("    b'',")
    lines, line = [], ""
    for byte in data:
        text = repr(bytes((byte,)))[2:-1].replace("'", "\\'")
        if len(line) + len(text) > room:
            lines.append(f"b'{line}'")
            line = ""
        line += text
    return [*lines, f"b'{line}',"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROTOS.parent, metavar="DIR")
    for path in generate(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()
