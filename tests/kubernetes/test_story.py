"""The story of examples/kubernetes/ is told to its end, and shows each object at every layer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kubernetes.build import Binaries
from tests.kubernetes.examples import require
from tests.support.etcd import unavailable

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 180.0
HOME = "/apis/kvstore.example/v1/namespaces/press/pages/home"
HOME_KEY = "/registry/kvstore.example/pages/press/home"
PUBLISHED = "/api/v1/namespaces/press/configmaps/page-home"
PUBLISHED_KEY = "/registry/configmaps/press/page-home"
MOTTO = "/api/v1/namespaces/press/configmaps/motto"
MOTTO_KEY = "/registry/configmaps/press/motto"


def run_story(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Its exit status and what it printed. Fails when it left a process of its session behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.kubernetes.story", *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        left_behind = ended(process)
    assert not left_behind, f"it left processes behind:\n{out}\n{err}"
    return process.returncode, out, err


def ended(process: subprocess.Popen[str]) -> bool:
    """End what is left of its process group, which all its children are in; whether any was."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    process.wait()
    return True


def in_order(text: str, patterns: Sequence[str]) -> list[re.Match[str]]:
    """The matches, each after the one before."""
    found: list[re.Match[str]] = []
    for pattern in patterns:
        start = found[-1].end() if found else 0
        match = re.compile(pattern, re.MULTILINE).search(text, start)
        assert match is not None, f"no {pattern!r} after {start} in\n{text}"
        found.append(match)
    return found


def passes(user: str, call: str, key: str, stored: str, event: str) -> list[str]:
    """The three lines of a change: the call, the store, the watch."""
    return [
        rf"^  rest +{user} +{call}$",
        rf"^  store +{stored} +{key} rev (\d+)$",
        rf"^  watch +{event} \w+ [\w-]+ resourceVersion (\d+)$",
    ]


@pytest.fixture(scope="module")
def story(binaries: Binaries) -> str:
    require("kopf", "kubernetes")
    if shutil.which("git") is None:
        unavailable("no git on PATH")
    version = binaries.release.removeprefix("v").rpartition(".")[0]
    status, out, err = run_story("--kubernetes", version)
    assert (status, err) == (0, ""), out
    return out


def test_a_page_is_seen_at_every_layer_from_its_making_to_its_end(story: str) -> None:
    matches = in_order(
        story,
        [
            r"^  rest +operator +GET +/apis/kvstore.example/v1/pages 200 \(a watch",
            *passes("admin", rf"POST +{HOME.rpartition('/')[0]} 201", HOME_KEY, "PUT", "ADDED"),
            r"^ +spec\.title = \"Home\"$",
            *passes("operator", rf"PATCH +{HOME} 200", HOME_KEY, "PUT", "MODIFIED"),
            r"^  operator \[press/home\] Handler 'publish' is invoked$",
            *passes("operator", rf"PATCH +{PUBLISHED} 201", PUBLISHED_KEY, "PUT", "ADDED"),
            r"^ +data\.text = \"Home\\nAll of this is kept in kvstore\.\\n\"$",
            r"^  operator \[press/home\] Handler 'publish' succeeded$",
            *passes("operator", rf"PATCH +{HOME}/status 200", HOME_KEY, "PUT", "MODIFIED"),
            r"^ +status\.configMap = \"page-home\"$",
            *passes("admin", rf"DELETE +{HOME} 200", HOME_KEY, "PUT", "MODIFIED"),
            r"^ +metadata\.deletionTimestamp = ",
            r"^  operator \[press/home\] Handler 'withdraw' succeeded$",
            *passes("operator", rf"PATCH +{HOME} 200", HOME_KEY, "DELETE", "DELETED"),
            *passes(
                "generic-garbage-collector",
                rf"DELETE +{PUBLISHED} 200",
                PUBLISHED_KEY,
                "DELETE",
                "DELETED",
            ),
        ],
    )
    revisions = [int(match[1]) for match in matches if match.re.groups]
    stored, told = revisions[::2], revisions[1::2]
    assert stored == told
    assert sorted(set(stored)) == stored


def test_gitops_applies_prunes_and_changes_drift_back(story: str) -> None:
    in_order(
        story,
        [
            r"^\$ git commit .*motto, draft, news$",
            *passes("gitops", rf"PATCH +{MOTTO} 201", MOTTO_KEY, "PUT", "ADDED"),
            r"^  gitops +at commit [0-9a-f]{40}$",
            r"^\$ git commit .*motto, news$",
            *passes(
                "gitops",
                r"DELETE +\S+/configmaps/draft 200",
                "/registry/configmaps/press/draft",
                "DELETE",
                "DELETED",
            ),
            r"^  gitops +configmap/draft pruned$",
            *passes("admin", rf"PATCH +{MOTTO} 200", MOTTO_KEY, "PUT", "MODIFIED"),
            r"^ +data\.text = \"Watch nothing\.\"$",
            *passes("gitops", rf"PATCH +{MOTTO} 200", MOTTO_KEY, "PUT", "MODIFIED"),
            r"^ +data\.text = \"Watch everything\.\"$",
            *passes("admin", rf"DELETE +{MOTTO} 200", MOTTO_KEY, "DELETE", "DELETED"),
            *passes("gitops", rf"PATCH +{MOTTO} 201", MOTTO_KEY, "PUT", "ADDED"),
        ],
    )


def test_the_loop_prunes_nothing_that_the_operator_made(story: str) -> None:
    assert re.search(r"rest +operator +PATCH +\S+/configmaps/page-news 201", story)
    assert re.search(r"DELETED ConfigMap page-news", story) is None


def test_everything_goes_on_after_the_store_was_killed(story: str) -> None:
    in_order(
        story,
        [
            r"^\$ kill -KILL \d+ ",
            r"^  rest +gitops +PATCH +\S+/pages/news 200$",
            r"^  operator \[press/news\] Handler 'publish/spec' succeeded$",
            r"^ +status\.lines = 2$",
            r"^  store +ok: \S+ is sound$",
            r"^[1-9]\d* changes, each seen at every layer\.$",
        ],
    )


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    status, _, err = run_story(env={"PATH": str(tmp_path)})
    assert (
        status,
        err,
    ) == (1, "\nThe story cannot be told: git, which GitOps is about, is missing\n")
