"""Opens a store in a fresh process and says, as JSON, how long it took and what it holds in RAM.

python -m bench.reopen DIRECTORY KEY_IN_HEX
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import kvstore

__all__ = ["main"]


def main(directory: str, key: bytes) -> dict[str, float]:
    """Seconds from the call of open to the first value read, and resident MiB then."""
    begin = time.perf_counter()
    with kvstore.open(directory) as db:
        found = db.get(key)
        seconds = time.perf_counter() - begin
        assert found is not None
        assert found.key == key
        return {"seconds": seconds, **_resident_mb()}


def _resident_mb() -> dict[str, float]:
    """VmRSS in all and its anonymous part; the rest are pages of files, which LMDB maps."""
    fields = dict(each.split(":", 1) for each in Path("/proc/self/status").read_text().splitlines())
    return {
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
        "anonymous_mb": int(fields["RssAnon"].split()[0]) / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], bytes.fromhex(sys.argv[2]))))
