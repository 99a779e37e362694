"""Every bound of the store, one named constant each, with its unit in the name.

The defaults that etcd has are etcd's (server/embed/config.go, server/storage/mvcc).
"""

from __future__ import annotations

from typing import Final

MAX_REQUEST_BYTES: Final = 1_572_864
"""Default of --max-request-bytes."""
REQUEST_OVERHEAD_BYTES: Final = 524_288
"""What a transport accepts above --max-request-bytes; a larger message is refused unread."""
MAX_TXN_OPS: Final = 128
"""Default of --max-txn-ops."""
MAX_LEASE_TTL_S: Final = 9_000_000_000
MIN_LEASE_TTL_S: Final = 2
"""ceil(1.5 * election timeout) with etcd's default election timeout of 1000 ms."""

COMMIT_BYTES: Final = 16 * 1024 * 1024
"""A commit takes at most this much (and at least one transaction)."""
GATHER_DECISIONS: Final = 64
"""A commit waits for no more decisions than this; larger ones gain little."""
GATHER_S: Final = 0.002
"""Nor for longer than this."""
PENDING_BYTES: Final = 512 * 1024 * 1024
"""Decided and not yet durable; above it writes are refused with 'too many requests'."""

WATCH_QUEUE_EVENTS: Final = 4096
"""Events queued on one watch stream; at the bound its watchers fall back to reading the log."""
WATCH_QUEUE_BYTES: Final = 8 * 1024 * 1024
"""Bytes queued on one watch stream, the same."""
WATCH_QUEUE_ANSWERS: Final = 1024
"""Answers (created, canceled, progress) queued on one watch stream; at the bound its requests are
not read on, and progress that nobody asked for waits."""
WATCHERS_BYTES: Final = 256 * 1024 * 1024
"""Of the watchers of one connection, with their keys: a quarter of a million with short ones."""
WATCH_TURN_WATCHERS: Final = 256
"""Watchers that are offered something before others have their turn; a quarter of them, when they
take leave."""
WATCH_BACKLOG_CHANGES: Final = 10_000
"""Changes published and not offered to all whom they concern; above it the next commit waits."""
WATCH_BACKLOG_BYTES: Final = 16 * 1024 * 1024
"""Their bytes, the same."""
CATCH_UP_REVISIONS: Final = 1000
"""Distinct revisions in one catch-up message (etcd: watchBatchMaxRevs)."""
CATCH_UP_BYTES: Final = 1024 * 1024
"""A catch-up message is closed at the first revision boundary at or above this."""
CATCH_UP_SCAN_ROWS: Final = 4096
"""Log rows looked at in one step of catching up."""
CATCH_UP_AT_ONCE: Final = 16
"""Such pieces of one stream, small ones, before others have their turn."""
CATCH_UP_INDEX_KEYS: Final = 256
"""An interval with up to this many keys is caught up through the index, not by a log scan."""

EXPIRE_LEASES_PER_TICK: Final = 500
"""Leases revoked in one pass over the due ones (etcd: leaseRevokeRate per 500 ms)."""
HOUSEKEEPING_RETRY_S: Final = 1.0
"""Pause before an expiry or a compaction that the disk refused is tried again."""
KEEP_ALIVE_ANSWERS: Final = 1024
"""Keep-alives of one stream that are not answered or whose answers were not taken; at the bound its
requests are not read on."""
COMPACTION_BATCH_KEYS: Final = 1000
"""Keys visited in one slice of a compaction (--compaction-batch-limit)."""
COMPACTION_SLEEP_S: Final = 0.01
"""Pause between slices (--compaction-sleep-interval)."""

RANGE_SLICE_KEYS: Final = 2000
"""A large range yields to other work after this many keys."""
RANGE_SLICE_BYTES: Final = 1024 * 1024
"""And after about this much."""
RANGE_FIRST_SLICE_KEYS: Final = 16
"""By which the size of the next is guessed."""
STREAM_FIRST_CHUNK_KEYS: Final = 10
"""Keys in the first message of a RangeStream; later ones double or halve."""

PROGRESS_NOTIFY_INTERVAL_S: Final = 600.0
MIN_PROGRESS_NOTIFY_INTERVAL_S: Final = 0.1

MAP_SIZE_BYTES: Final = 1 << 30
"""First size of the memory map; it doubles when it is full."""

RECENT_TURNS: Final = 20_000
"""Births and deaths of keys that are remembered, so that a count soon after is no walk."""

SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""A segment of the journal has at most this size, or that of one larger commit."""
LEAST_SEGMENT_BYTES: Final = 128 * 1024
"""The first one's size; each next one is twice as large as the last."""
SPARE_SEGMENTS: Final = 4
"""Files that wait for their next use as a segment; more are removed."""
CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
"""So much in the journal that LMDB does not have yet begins a checkpoint."""
CHECKPOINT_INTERVAL_S: Final = 5.0
"""The journal holds nothing that LMDB lacks for longer than about this."""
JOURNAL_BYTES: Final = 64 * 1024 * 1024
"""The most in the journal that LMDB does not have; at the bound a commit waits for a checkpoint."""
CHECKPOINT_SLICE_ROWS: Final = 100
"""A checkpoint lets others run after this many rows."""
CHECKPOINT_PAUSE_S: Final = 0.001
"""For this long; without a pause when somebody waits for it."""

UPGRADE_SLICE_ROWS: Final = 10_000
"""An upgrade of the format commits after so many rows."""
UPGRADE_SLICE_BYTES: Final = 4 * 1024 * 1024
"""Or after so many bytes."""
UPGRADE_SCAN_ROWS: Final = 64
"""It reads so many at a time: each may be as large as a request."""

RECORDED_SHAPES: Final = 1000
"""Different shapes of calls that --debug-record-calls tells apart; all more count as one."""
RECORDED_SHAPE_CHARS: Final = 1000
"""A longer one is cut."""
