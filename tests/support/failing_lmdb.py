"""An LMDB environment whose calls fail as told; it does in truth what is left of them."""

from __future__ import annotations

from typing import Any

__all__ = ["FailingEnv"]


class FailingEnv:
    """`begin read`, `begin write`, `put`, `delete`, `putmulti`, `commit` (before LMDB's meta page),
    `meta` (at the meta page: LMDB takes no transaction any more), `set_mapsize`."""

    def __init__(self, env: Any, panic: Exception) -> None:
        self._env, self._panic = env, panic
        self._call, self._error = "", panic
        self._is_broken = False

    def fail(self, call: str = "", error: Exception | None = None) -> None:
        """Each such call from now on; without arguments none."""
        self._call, self._error = call, error or self._panic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def begin(self, *, write: bool = False) -> Any:
        if self._is_broken:
            raise self._panic
        self.check("begin write" if write else "begin read")
        txn = self._env.begin(write=write)
        return _FailingTxn(self, txn) if write else txn

    def set_mapsize(self, size: int) -> None:
        self.check("set_mapsize")
        self._env.set_mapsize(size)

    def check(self, call: str) -> None:
        if call == self._call:
            self._is_broken = call == "meta"
            raise self._error


class _FailingTxn:
    def __init__(self, env: FailingEnv, txn: Any) -> None:
        self._env, self._txn = env, txn

    def __enter__(self) -> _FailingTxn:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            self._txn.abort()
            return
        try:
            self._env.check("commit")
            self._env.check("meta")
        except BaseException:
            self._txn.abort()
            raise
        self._txn.commit()

    def abort(self) -> None:
        self._txn.abort()

    def put(self, *args: Any, **kwargs: Any) -> Any:
        self._env.check("put")
        return self._txn.put(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        self._env.check("delete")
        return self._txn.delete(*args, **kwargs)

    def cursor(self, table: Any) -> Any:
        self._env.check("putmulti")
        return self._txn.cursor(table)
