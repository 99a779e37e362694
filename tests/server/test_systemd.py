"""What a unit of Type=notify hears."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from kvstore.server.systemd import READY, STOPPING, notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_socket_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    address = f"@{tmp_path.name}-{id(monkeypatch)}" if is_abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init:
        init.bind(address.replace("@", "\0"))
        init.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify(READY)
        notify(STOPPING)
        assert [init.recv(100), init.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_nobody_need_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    with caplog.at_level(logging.ERROR, logger="kvstore"):
        notify(READY)
    assert "failed to notify systemd of READY=1: No such file or directory" in caplog.text


@pytest.mark.parametrize("value", ["", None])
def test_without_a_socket_there_is_nothing_to_do(
    value: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if value is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    notify(READY)
    assert caplog.records == []
