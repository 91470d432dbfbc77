"""How many connections a virtual host has, of those that it may have."""

from __future__ import annotations

from pathlib import Path

from xmppws.config import load
from xmppws.http.occupancy import Occupancy, occupancy_limits


def test_a_host_is_full_at_its_limit_and_no_other_is() -> None:
    occupancy = Occupancy({"a.example": 2, "b.example": 2})
    occupancy.enter("a.example")
    assert not occupancy.is_full("a.example")
    occupancy.enter("a.example")
    assert occupancy.is_full("a.example") and not occupancy.is_full("b.example")
    occupancy.leave("a.example")
    assert not occupancy.is_full("a.example")


def test_without_a_limit_a_host_is_never_full() -> None:
    occupancy = Occupancy({"a.example": 0})
    for domain in ("a.example", "other.example"):
        for _ in range(1000):
            occupancy.enter(domain)
        assert not occupancy.is_full(domain)


def test_what_means_no_host_yet_counts_to_none() -> None:
    occupancy = Occupancy({"": 1})
    occupancy.enter("")
    occupancy.leave("")
    assert not occupancy.connections


def test_the_top_level_is_the_default_of_each_host_and_no_bound_for_all(tmp_path: Path) -> None:
    file = tmp_path / "xmppws.toml"
    file.write_text(
        '[c2s]\nmax_connections = 700\nmax_host_connections = 500\n[hosts."a.example"]\n'
        '[hosts."b.example".c2s]\nmax_host_connections = 7\n[hosts."c.example".c2s]\nmax_host_connections = 0\n'
    )
    config = load(file)
    assert occupancy_limits(config) == {"a.example": 500, "b.example": 7, "c.example": 0}
    assert config.c2s.max_connections == 700
