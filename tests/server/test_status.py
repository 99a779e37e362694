"""Golden list: what every error looks like on the wire."""

import pytest

from kvstore import errors
from kvstore.server.status import Code, StatusError, status_of

GOLDEN = [
    (errors.KeyNotProvided, 3, "etcdserver: key is not provided", 400),
    (errors.KeyNotFound, 3, "etcdserver: key not found", 400),
    (errors.ValueProvided, 3, "etcdserver: value is provided", 400),
    (errors.LeaseProvided, 3, "etcdserver: lease is provided", 400),
    (errors.TooManyOperations, 3, "etcdserver: too many operations in txn request", 400),
    (errors.DuplicateKey, 3, "etcdserver: duplicate key given in txn request", 400),
    (errors.InvalidSortOption, 3, "etcdserver: invalid sort option", 400),
    (errors.RequestTooLarge, 3, "etcdserver: request is too large", 400),
    (errors.Compacted, 11, "etcdserver: mvcc: required revision has been compacted", 400),
    (errors.FutureRevision, 11, "etcdserver: mvcc: required revision is a future revision", 400),
    (errors.LeaseNotFound, 5, "etcdserver: requested lease not found", 404),
    (errors.LeaseExists, 9, "etcdserver: lease already exists", 400),
    (errors.LeaseTtlTooLarge, 11, "etcdserver: too large lease TTL", 400),
    (errors.NoSpace, 8, "etcdserver: mvcc: database space exceeded", 429),
    (errors.TooManyRequests, 2, "etcdserver: too many requests", 500),
    (errors.StoreClosed, 14, "etcdserver: server stopped", 503),
    (errors.StoreFailed, 14, errors.StoreFailed.message, 503),
    (errors.WriteRefused, 14, errors.WriteRefused.message, 503),
    (errors.CorruptStore, 15, errors.CorruptStore.message, 500),
]


class TestStatusOf:
    @pytest.mark.parametrize(("error", "code", "text", "http_status"), GOLDEN)
    def test_an_error_has_etcds_code_and_text(
        self, error: type[errors.StoreError], code: int, text: str, http_status: int
    ) -> None:
        assert (code, text, http_status) == status_of(error())

    def test_every_request_and_state_error_is_in_the_golden_list(self) -> None:
        known = {row[0] for row in GOLDEN}
        assert known >= set(errors.InvalidRequest.__subclasses__())
        assert known >= set(errors.StateError.__subclasses__())

    def test_a_service_says_its_own_status(self) -> None:
        error = StatusError(Code.UNIMPLEMENTED, "not here")
        assert status_of(error) == (12, "not here", 501)

    @pytest.mark.parametrize("error", [KeyError("secret"), errors.OpenError("/secret")])
    def test_an_unforeseen_error_is_not_told(self, error: Exception) -> None:
        assert status_of(error) == (13, "internal error", 500)

    def test_what_an_instance_adds_is_not_told(self) -> None:
        status = status_of(errors.StoreFailed("disk /dev/secret"))
        assert errors.StoreFailed.message == status.message
