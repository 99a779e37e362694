"""The ids are those that etcd derives from the same options."""

from __future__ import annotations

from kvstore.server.identity_ids import derive_cluster_id, derive_member_id


def test_the_defaults_of_etcd_give_its_well_known_ids() -> None:
    member_id = derive_member_id(["http://localhost:2380"], "etcd-cluster")
    assert member_id == 0x8E9E05C52164694D
    assert derive_cluster_id([member_id]) == 0xCDF818194E3A8C32


def test_the_order_of_urls_and_members_does_not_matter() -> None:
    assert derive_member_id(["b", "a"], "t") == derive_member_id(["a", "b"], "t")
    assert derive_cluster_id([2, 1]) == derive_cluster_id([1, 2])


def test_the_token_matters() -> None:
    assert derive_member_id(["a"], "t") != derive_member_id(["a"], "u")
