"""What is installed: content and metadata of the wheel, and the lists that must agree with it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kvstore

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = (ROOT / "requirements" / "dev.txt", ROOT / "requirements" / "kubernetes.txt")
MODULES = {"google": "protobuf", "grpc": "grpcio", "yaml": "PyYAML"}
"""Distributions whose module has another name."""
PINNED = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=.*\n)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """The wheel, built without a network from the backend that is installed."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, timeout=120)
    (path,) = out.iterdir()
    assert path.name == f"kvstore_etcd-{kvstore.__version__}-py3-none-any.whl"
    with ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    name = f"kvstore_etcd-{kvstore.__version__}.dist-info/METADATA"
    return message_from_bytes(wheel.read(name))


@pytest.mark.slow
class TestWheel:
    def test_it_holds_the_package_its_types_and_the_licence(self, wheel: ZipFile) -> None:
        names = set(wheel.namelist())
        info = f"kvstore_etcd-{kvstore.__version__}.dist-info"
        assert {name.split("/")[0] for name in names} == {"kvstore", info}
        assert {"kvstore/py.typed", f"{info}/licenses/LICENSE"} <= names
        sources = {
            str(path.relative_to(ROOT))
            for path in (ROOT / "kvstore").rglob("*")
            if path.suffix in (".py", ".pyi", ".typed")
        }
        assert sources == {name for name in names if name.startswith("kvstore/")}

    def test_the_command_is_there(self, wheel: ZipFile) -> None:
        info = f"kvstore_etcd-{kvstore.__version__}.dist-info"
        text = wheel.read(f"{info}/entry_points.txt").decode()
        assert text.strip() == "[console_scripts]\nkvstore = kvstore.cli.main:main"

    def test_it_says_what_it_is(self, metadata: Message) -> None:
        assert metadata["Name"] == "kvstore-etcd"
        assert metadata["Version"] == kvstore.__version__
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["Requires-Python"] == ">=3.11"
        assert "# kvstore" in metadata.get_payload()

    def test_a_plain_installation_brings_all_that_is_imported(self, metadata: Message) -> None:
        required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
        assert all(each.marker is None for each in required)
        assert metadata.get_all("Provides-Extra") is None
        brought = {canonicalize_name(each.name) for each in required}
        assert {canonicalize_name(name) for name in imported()} == brought


def imported() -> set[str]:
    """The distributions of the modules that the package imports anywhere, but Python's own."""
    found: set[str] = set()
    for path in (ROOT / "kvstore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    found -= {*sys.stdlib_module_names, "kvstore"}
    return {MODULES.get(name, name) for name in found}


class TestDependencies:
    def test_the_page_has_a_row_for_each_with_its_versions_and_licence(self) -> None:
        text = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
        rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| .+ \| .+ \| (.+) \|$", text, re.MULTILINE)
        assert sorted((name, versions) for name, versions, _ in rows) == sorted(
            re.fullmatch(r"([\w-]+)(.+)", each).groups()  # type: ignore[union-attr]
            for each in PROJECT["project"]["dependencies"]
        )

    @pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
    def test_what_is_locked_has_hashes_and_names_no_place(self, path: Path) -> None:
        text = path.read_text()
        assert PINNED.sub("", text) == ""
        assert "://" not in text
        for *_, hashes in PINNED.findall(text):
            for line in hashes.splitlines():
                assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line)

    @pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
    def test_what_is_locked_is_what_the_project_works_with(self, path: Path) -> None:
        locked = {
            canonicalize_name(name): version
            for name, version, marker, _ in PINNED.findall(path.read_text())
            if not marker or Marker(marker).evaluate()
        }
        wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"][path.stem]]
        for each in map(Requirement, wanted):
            assert each.specifier.contains(locked[canonicalize_name(each.name)]), each


@pytest.mark.slow
def test_a_strictly_checked_program_sees_real_types(tmp_path: Path) -> None:
    """Names are fetched when they are asked for; a type checker must not see `object` for them."""
    program = tmp_path / "program.py"
    program.write_text(
        "import kvstore\n"
        'with kvstore.open("data") as db:\n'
        '    reveal_type(db.put("k", "v"))\n'
        '    reveal_type(db.get("k"))\n'
        "reveal_type(kvstore.aopen)\n"
        "reveal_type(kvstore.__version__)\n"
        "class Mine(kvstore.StoreError): ...\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    revealed = re.findall(r'Revealed type is "(.+)"', done.stdout)
    assert "kvstore.types.PutResult" in revealed[0]
    assert "kvstore.types.KeyValue" in revealed[1]
    assert "kvstore.embedded.aio" in revealed[2]
    assert revealed[3].endswith("str")
