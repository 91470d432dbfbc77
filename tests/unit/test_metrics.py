"""Counting without labels: histograms, and the metrics that modules declare."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fakes import World
from xmppws.core.catalog import ModuleError
from xmppws.core.histogram import Histogram
from xmppws.core.metrics import Metric, check, counter, gauge, values
from xmppws.core.module import Module
from xmppws.errors import Reason
from xmppws.http.causes import Cause

MAN_PAGE = Path(__file__).parents[2] / "man" / "xmppws.1"


class Hello(Module):
    name = "hello"
    hits = counter("xmppws_hello_hits_total", "Greetings answered.")
    guests = gauge("xmppws_hello_guests", "Guests at the moment.")


class LoudHello(Hello):
    shouts = counter("xmppws_hello_shouts_total", "Greetings in capitals.")


def test_a_histogram_counts_up_to_and_with_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(1.0, 2), (2.0, 4), (math.inf, 6)]
    assert (histogram.count, histogram.total) == (6, 12.0)


def hello(world: World) -> Hello:
    module = world.host.modules["hello"]
    assert isinstance(module, Hello)
    return module


def test_each_host_counts_for_itself() -> None:
    first, second = hello(World(Hello)), hello(World(Hello))
    first.hits.inc()
    first.hits.inc(2)
    first.guests.set(5)
    first.guests.dec()
    assert {metric.name: value for metric, value in values(first)} == {
        "xmppws_hello_hits_total": 3,
        "xmppws_hello_guests": 4,
    }
    assert [value for _, value in values(second)] == [0, 0]


def test_metrics_are_inherited_and_read_from_the_class() -> None:
    module = hello(World(LoudHello))
    assert [metric.name for metric, _ in values(module)][-1] == "xmppws_hello_shouts_total"
    assert isinstance(Hello.hits, Metric) and (Hello.hits.kind, Hello.guests.kind) == ("counter", "gauge")


@pytest.mark.parametrize(
    ("metric", "rule"),
    [
        (counter("xmppws_sessions_total", ""), "must be named xmppws_hello_"),
        (counter("xmppws_hello_Hits_total", ""), "lower case"),
        (counter("xmppws_hello_hits-total", ""), "lower case"),
        (counter("xmppws_hello_hits", ""), "end in _total"),
        (gauge("xmppws_hello_guests_total", ""), "end in _total"),
    ],
)
def test_a_name_that_could_be_somebody_elses_is_refused(metric: Metric[object], rule: str) -> None:  # type: ignore[type-var]
    with pytest.raises(ValueError, match=rule):
        check("hello", type("Other", (), {"metric": metric}))


def test_right_names_pass() -> None:
    check("hello", LoudHello)


def test_a_module_with_a_wrong_name_is_not_loaded() -> None:
    class Wrong(Module):
        name = "wrong"
        hits = counter("xmppws_hello_hits_total", "Of somebody else.")

    with pytest.raises(ModuleError, match="module 'wrong': metric 'xmppws_hello_hits_total' must be named"):
        World(Wrong)


def test_the_man_page_explains_every_reason_and_every_cause() -> None:
    items = {line.removeprefix(".It Li ") for line in MAN_PAGE.read_text().splitlines() if line.startswith(".It Li ")}
    assert {reason.id for reason in Reason} | {cause.value for cause in Cause} <= items
