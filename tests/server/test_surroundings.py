"""The directory and the limits that a server finds."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from kvstore.server.surroundings import permission_warnings, raise_file_limit


class TestDirectory:
    @pytest.mark.parametrize(
        ("mode", "shown"), [(0o755, "drwxr-xr-x"), (0o750, "drwxr-x---"), (0o777, "drwxrwxrwx")]
    )
    def test_one_that_others_may_look_into_is_told_in_the_words_of_etcd(
        self, tmp_path: Path, mode: int, shown: str
    ) -> None:
        tmp_path.chmod(mode)
        (line,) = permission_warnings(str(tmp_path))
        assert line == (
            f'check file permission: directory "{tmp_path}" exist, but the permission is "{shown}".'
            ' The recommended permission is "-rwx------" to prevent possible unprivileged access to'
            " the data"
        )

    def test_a_private_one_is_fine(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        assert list(permission_warnings(str(tmp_path))) == []

    def test_one_that_is_not_there_yet_is_made(self, tmp_path: Path) -> None:
        assert list(permission_warnings(str(tmp_path / "new"))) == []


class TestFileLimit:
    def test_it_is_raised_as_far_as_it_may_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_to: list[tuple[int, int]] = []
        monkeypatch.setattr("resource.getrlimit", lambda kind: (1024, 4096))
        monkeypatch.setattr("resource.setrlimit", lambda kind, limits: set_to.append(limits))
        raise_file_limit()
        assert set_to == [(4096, 4096)]

    def test_a_system_that_refuses_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(kind: int, limits: tuple[int, int]) -> None:
            raise ValueError

        monkeypatch.setattr("resource.getrlimit", lambda kind: (1, resource.RLIM_INFINITY))
        monkeypatch.setattr("resource.setrlimit", refuse)
        raise_file_limit()
