"""What the chapters are told with: do something, show what follows, up to what has to follow.

Nothing here sleeps for the reader: each step ends with its outcome, or with NotSeen in a minute.
"""

from __future__ import annotations

import shlex
from typing import Any, NamedTuple

from examples.kubernetes.story.changes import Change
from examples.kubernetes.story.layers import Layers, NotSeen, Tail
from examples.kubernetes.story.terminal import command, show_change, show_line
from tests.kubernetes.kubectl import Kubectl
from tests.kubernetes.repository import Repository

__all__ = ["TIMEOUT_S", "Teller", "Wanted"]

TIMEOUT_S = 60.0
"""How long any outcome may take."""


class Wanted(NamedTuple):
    """A change to wait for: what happened to which object, and a part of one of its details.

    An empty event or detail is any.
    """

    event: str
    name: str
    detail: str = ""

    def is_met_by(self, change: Change) -> bool:
        return (
            self.event in ("", change.told.type)
            and change.key.endswith(f"/{self.name}")
            and (not self.detail or any(self.detail in each for each in change.details))
        )


class Teller:
    """Acts as a person with kubectl and git does, and shows the changes in the order they came."""

    def __init__(self, layers: Layers, kubectl: Kubectl, repository: Repository) -> None:
        self._layers, self._kubectl, self._repository = layers, kubectl, repository
        self.shown = 0

    def kubectl(self, *arguments: str) -> None:
        command(shlex.join(["kubectl", *arguments]))
        self._kubectl(*arguments)

    def commit(self, *manifests: dict[str, Any]) -> None:
        """Make these the content of the branch."""
        by_name = {manifest["metadata"]["name"]: manifest for manifest in manifests}
        self._repository.commit(by_name)
        command(f"git commit --all    # {', '.join(by_name)}")

    def changes(self, *wanted: Wanted) -> None:
        """Show every change, up to the last one of these that comes. Raises NotSeen."""
        missing = list(wanted)
        while missing:
            try:
                change = self._layers.next_change(TIMEOUT_S)
            except NotSeen as failure:
                expected = ", ".join(" ".join(each).strip() for each in missing)
                raise NotSeen(f"{failure}; expected {expected}") from failure
            show_change(change)
            self.shown += 1
            missing = [each for each in missing if not each.is_met_by(change)]

    def says(self, program: str, log: Tail, pattern: str) -> None:
        """Show the next match of the pattern in what the program wrote into its log."""
        show_line(program, log.until(pattern, TIMEOUT_S))
