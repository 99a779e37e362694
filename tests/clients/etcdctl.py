"""A person at a terminal with etcdctl: runs commands and keeps a transcript that can be compared.

A script is a function of one `Terminal`. `compare(pair, script)` runs it against the real etcd
and against ours at the same time, and then compares the two transcripts. What differs between
any two servers is normalised:

- the address of a server becomes `ENDPOINT`;
- ids (numbers of 13 or more decimal digits or hexadecimal words of 12 to 16 digits) become
  `<id1>`, `<id2>`, ... in order of their first appearance, so that the same id in another place
  or in the other base gets the same name;
- times, durations and the remaining seconds of a lease become `T`, raft terms `TERM`;
- runs of blanks and of dashes become one, as tables are as wide as their ids.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.clients.servers import Pair, Server, require

__all__ = ["Background", "Result", "Script", "Terminal", "compare", "wait_until"]

DEADLINE_S = 15.0

_ID = re.compile(
    r"(?<![0-9A-Za-z])(?:(?P<dec>[1-9]\d{12,19})|(?P<hex>[0-9a-f]{12,16}))(?![0-9A-Za-z])"
)
_ADDRESS = re.compile(r"127\.0\.0\.1:\d{4,5}")
_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r'"ts":"[^"]*"'), '"ts":"T"'),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*Z?"), "T"),
    (re.compile(r"endpoint://client-[0-9a-f-]{36}/"), "endpoint://client/"),
    (re.compile(r"took = [\d.]+[mµn]?s"), "took = T"),
    (re.compile(r"(?<=[\s|])[\d.]+(?:ms|µs|ns)(?=[\s|])"), "T"),
    (re.compile(r'"took": ?"[^"]*"'), '"took":"T"'),
    (re.compile(r'"Took" : [\d.]+\w+'), '"Took" : T'),
    (re.compile(r"remaining\(\d+s\)"), "remaining(T)"),
    (re.compile(r'"RaftTerm" : \d+'), '"RaftTerm" : TERM'),
    (re.compile(r'("raft_term"): ?\d+'), r"\1:TERM"),
    (re.compile(r"-{2,}"), "-"),
    (re.compile(r" {2,}"), " "),
]
_BYTES_FIELDS = frozenset({"key", "value", "range_end"})


class Result:
    """What one finished command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """The first line of the output as a JSON document."""
        return json.loads(self.out.splitlines()[0])


class Terminal:
    """Runs etcdctl against one server; every command and all it prints lands in `transcript`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transcript: list[str] = []
        self._program = require("etcdctl")
        self._names: dict[int, str] = {}
        self._background: list[Background] = []

    def run(self, *words: str, stdin: str = "", quiet: bool = False) -> Result:
        """Run one command to its end, and note the words, the exit code and both outputs."""
        done = subprocess.run(
            self._command(words), env=self._environment(words), input=stdin, capture_output=True,
            text=True, errors="surrogateescape", timeout=DEADLINE_S,
        )  # fmt: skip
        result = Result(done.returncode, done.stdout, done.stderr)
        if not quiet:
            self.note("$ etcdctl " + " ".join(map(repr, words)))
            self._note_output(result)
        return result

    def ok(self, *words: str, stdin: str = "") -> Result:
        """Run one command that must succeed, on the real etcd too."""
        result = self.run(*words, stdin=stdin)
        assert result.code == 0, (words, result.code, result.err)
        return result

    def fails(self, *words: str, stdin: str = "") -> Result:
        """Run one command that must fail, on the real etcd too."""
        result = self.run(*words, stdin=stdin)
        assert result.code != 0, (words, result.out)
        return result

    def start(self, *words: str, environment: dict[str, str] | None = None) -> Background:
        """Start a command that blocks; its lines are read one at a time."""
        self.note("$ etcdctl " + " ".join(map(repr, words)) + " &")
        process = Background(
            self, self._command(words), {**self._environment(words), **(environment or {})}
        )
        self._background.append(process)
        return process

    def note(self, text: str) -> None:
        """Add text to the transcript, normalised."""
        self.transcript.extend(self.normal(line) for line in text.splitlines() or [""])

    def note_rest(self, watch: Background, *words: str) -> None:
        """Run a put that `watch` sees, note all up to its value, and end the watch."""
        self.run(*words, quiet=True)
        encoded = base64.b64encode(words[-1].encode()).decode()
        while (line := watch.line()).rstrip('"').rpartition('"')[2] != words[
            -1
        ] and encoded not in line:
            pass
        watch.kill()

    def normal(self, line: str) -> str:
        """Return a line without what differs between any two servers."""
        if line.startswith(("{", "[")):
            with contextlib.suppress(ValueError):
                line = json.dumps(_decoded(json.loads(line)), ensure_ascii=False)
        line = _ADDRESS.sub("ENDPOINT", line)
        for pattern, replacement in _RULES:
            line = pattern.sub(replacement, line)
        return _ID.sub(self._name, line)

    def lease(self, ttl_s: int = 60) -> str:
        """Grant a lease and return its id as etcdctl prints it."""
        return self.ok("lease", "grant", str(ttl_s)).out.split()[1]

    def revision(self) -> int:
        """Return the revision of the store."""
        revision: int = self.run("get", "level", "-w", "json", quiet=True).json["header"][
            "revision"
        ]
        return revision

    def close(self) -> None:
        """End every command that still runs in the background."""
        for process in self._background:
            process.kill()

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [self._program, *words]

    def _environment(self, words: tuple[str, ...]) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment["ETCDCTL_API"] = "3"
        # etcdctl refuses an option that is given in both places.
        if not any(word.startswith("--endpoints=") for word in words):
            environment["ETCDCTL_ENDPOINTS"] = self.server.target
        return environment

    def _note_output(self, result: Result) -> None:
        for line in result.out.splitlines():
            self.transcript.append("out: " + self.normal(line))
        for line in result.err.splitlines():
            self.transcript.append("err: " + self.normal(line))
        self.transcript.append(f"exit {result.code}")

    def _name(self, match: re.Match[str]) -> str:
        number = int(match["dec"]) if match["dec"] else int(match["hex"], 16)
        return self._names.setdefault(number, f"<id{len(self._names) + 1}>")


class Background:
    """A command that runs while the script goes on."""

    def __init__(self, terminal: Terminal, command: list[str], environment: dict[str, str]) -> None:
        self._terminal = terminal
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="surrogateescape", env=environment, start_new_session=True,
        )  # fmt: skip
        self._out: queue.Queue[str | None] = queue.Queue()
        self._err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_err, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def line(self) -> str:
        """Return the next line of the output, noted; fail when none comes in time."""
        line = self.poll(DEADLINE_S)
        assert line is not None, f"no line within {DEADLINE_S} s; stderr: {''.join(self._err)}"
        self._terminal.transcript.append("out: " + self._terminal.normal(line))
        return line

    def lines(self, count: int) -> list[str]:
        """Return the next `count` lines."""
        return [self.line() for _ in range(count)]

    def json_events(self, count: int) -> list[Any]:
        """Return the next `count` events of a watch that prints JSON, however they are grouped."""
        events: list[Any] = []
        while len(events) < count:
            line = self.poll(DEADLINE_S)
            assert line is not None, f"only {len(events)} events within {DEADLINE_S} s"
            events.extend(_decoded(json.loads(line)).get("Events") or [])
        return events

    def poll(self, seconds: float) -> str | None:
        """Return the next line without noting it, or None when none comes in time."""
        try:
            line = self._out.get(timeout=seconds)
        except queue.Empty:
            return None
        if line is None:
            raise AssertionError(f"the command ended; stderr: {''.join(self._err)}")
        return line

    def send(self, text: str) -> None:
        """Type a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def hang_up(self) -> None:
        """Close the standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def interrupt(self) -> None:
        """Press control-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def finish(self) -> int:
        """Wait for the end, and note the remaining lines, the errors and the exit code."""
        code = self._process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        while (line := self._out.get_nowait()) is not None:
            self._terminal.transcript.append("out: " + self._terminal.normal(line))
        self._terminal.transcript.extend(
            "err: " + self._terminal.normal(line.rstrip("\n")) for line in self._err
        )
        self._terminal.transcript.append(f"exit {code}")
        return code

    def kill(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for reader in self._readers:
            reader.join(DEADLINE_S)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._out.put(line.rstrip("\n"))
        self._out.put(None)

    def _read_err(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            self._err.extend(lines)


Script = Callable[[Terminal], None]


def compare(pair: Pair, script: Script) -> None:
    """Run a script against both servers, and fail unless the transcripts are equal.

    Before the script both stores are emptied and brought to the same revision, so that one
    difference does not show in every later transcript.
    """
    terminals = [Terminal(server) for server in pair]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_empty, terminals))
        _level(terminals)
        runs = [pool.submit(script, terminal) for terminal in terminals]
        errors = [run.exception() for run in runs]
    for terminal in terminals:
        terminal.close()
    expected, actual = (terminal.transcript for terminal in terminals)
    if errors[0] is not None:
        raise errors[0]
    if errors[1] is not None:
        actual = [*actual, f"script failed: {errors[1]!r}"]
    if expected != actual:
        lines = difflib.unified_diff(expected, actual, "etcd", "ours", lineterm="", n=4)
        pytest.fail("\n".join(lines), pytrace=False)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll a condition that another process makes true."""
    deadline_monotonic_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_monotonic_s, f"{what} did not happen in time"


def _empty(terminal: Terminal) -> None:
    for lease in terminal.run("lease", "list", "-w", "json", quiet=True).json.get("leases") or []:
        terminal.run("lease", "revoke", f"{lease['id']:x}", quiet=True)
    terminal.run("del", "", "--from-key", quiet=True)
    terminal.run("put", "level", "", quiet=True)


def _level(terminals: list[Terminal]) -> None:
    revisions = [terminal.revision() for terminal in terminals]
    for terminal, revision in zip(terminals, revisions, strict=True):
        for _ in range(max(revisions) - revision):
            terminal.run("put", "level", "", quiet=True)
        terminal.run("del", "level", quiet=True)


def _decoded(document: Any) -> Any:
    """Decode the base64 fields of etcdctl's JSON, so that ids inside keys are found."""
    if isinstance(document, dict):
        return {
            name: _text(value)
            if name in _BYTES_FIELDS and isinstance(value, str)
            else _decoded(value)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [_decoded(value) for value in document]
    return document


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("latin-1")
