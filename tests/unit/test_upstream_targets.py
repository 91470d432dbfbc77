"""Which servers are tried in which order."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmppws.routers.upstream.errors import NotOffered
from xmppws.routers.upstream.targets import MAX_TARGETS, Service, Services, Target, choose, order


def service(host: str, priority: int = 0, weight: int = 0, *, direct: bool = False, validated: bool = False) -> Service:
    return Service(priority, weight, Target(host, 5222, direct, validated))


def services(*records: Service, validated: bool = False) -> Services:
    return Services(records, validated)


def hosts(*records: Service, seed: int = 0) -> list[str]:
    return [target.host for target in order(records, Random(seed))]


def test_lower_numbers_come_first() -> None:
    assert hosts(service("c", 20), service("a", 0, 1), service("b", 10, 65535)) == ["a", "b", "c"]


def test_weights_are_shares() -> None:
    records = service("one", weight=1), service("three", weight=3)
    first = Counter(hosts(*records, seed=seed)[0] for seed in range(2000))
    # RFC 2782 draws from 0 to the sum: the first in the list has two numbers of five, or one.
    assert 1300 < first["three"] < 1600


def test_weight_zero_is_seldom_first_beside_others() -> None:
    records = service("zero"), service("much", weight=99)
    first = Counter(hosts(*records, seed=seed)[0] for seed in range(2000))
    assert 0 < first["zero"] < 60


def test_equals_take_turns() -> None:
    first = Counter(hosts(service("a"), service("b"), seed=seed)[0] for seed in range(400))
    assert min(first.values()) > 130


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65535)), max_size=12), st.integers())
def test_nothing_is_lost_and_priorities_hold(given: list[tuple[int, int]], seed: int) -> None:
    records = [service(f"h{number}", *each) for number, each in enumerate(given)]
    found = hosts(*records, seed=seed)
    assert sorted(found) == sorted(each.target.host for each in records)
    priorities = {each.target.host: each.priority for each in records}
    assert [priorities[host] for host in found] == sorted(priorities.values())


def test_both_kinds_of_tls_are_mixed() -> None:
    found = choose(
        "example.com",
        services(service("a", 10), service("c", 30)),
        services(service("b", 20, direct=True)),
        Random(0),
    )
    assert [(each.host, each.direct_tls) for each in found] == [("a", False), ("b", True), ("c", False)]


def test_no_records_mean_the_domain_itself() -> None:
    assert choose("example.com", services(), services(), Random(0)) == (Target("example.com", 5222),)
    (target,) = choose("example.com", services(validated=True), services(validated=True), Random(0))
    assert target.validated
    (target,) = choose("example.com", services(validated=True), services(), Random(0))
    assert not target.validated


@pytest.mark.parametrize(
    ("starttls", "direct"),
    [
        (services(service(".")), services()),
        (services(), services(service(".", direct=True))),
        (services(service(".")), services(service("."))),
    ],
)
def test_a_dot_means_no_service(starttls: Services, direct: Services) -> None:
    with pytest.raises(NotOffered, match=r'^example\.com offers no service to XMPP clients: .* target "\."$'):
        choose("example.com", starttls, direct, Random(0))


def test_a_dot_of_one_kind_leaves_the_other() -> None:
    found = choose("example.com", services(service("a")), services(service(".", direct=True)), Random(0))
    assert [each.host for each in found] == ["a"]


def test_no_more_are_tried_than_can_be_reached() -> None:
    records = [service(f"h{number}", number) for number in range(50)]
    assert len(choose("example.com", services(*records), services(), Random(0))) == MAX_TARGETS


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("a.example", 5222), "a.example:5222"),
        (Target("::1", 5223, direct_tls=True), "[::1]:5223 (direct TLS)"),
        (Target(path="/run/xmpp.sock"), "unix:/run/xmpp.sock"),
    ],
)
def test_targets_are_shown(target: Target, text: str) -> None:
    assert str(target) == text
