"""XEP-0059: pages of result sets, read and written."""

from __future__ import annotations

import pytest
from lxml import etree

from xmppws.errors import BadRequest
from xmppws.xml.rsm import Wanted, read_set, write_set
from xmppws.xml.writer import serialize

RSM = "http://jabber.org/protocol/rsm"


def read(content: str | None) -> Wanted:
    result_set = "" if content is None else f"<set xmlns='{RSM}'>{content}</set>"
    return read_set(etree.fromstring(f"<query xmlns='urn:x'>{result_set}</query>"))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, Wanted()),
        ("", Wanted()),
        ("<max>10</max>", Wanted(max=10)),
        ("<max>0</max><after>a b</after>", Wanted(max=0, after="a b")),
        ("<after/>", Wanted()),
        ("<before/>", Wanted(before="")),
        ("<before>x</before><max>1</max>", Wanted(max=1, before="x")),
        ("<index>371</index>", Wanted(index=371)),
    ],
)
def test_read(content: str | None, wanted: Wanted) -> None:
    assert read(content) == wanted


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<max>ten</max>", "max of the result set is a whole number"),
        ("<max/>", "max"),
        ("<max>-1</max>", "max"),
        ("<max>\u0663</max>", "max"),
        (f"<max>{'9' * 11}</max>", "max"),
        ("<index>1.5</index>", "index"),
        ("<after>x</after><before/>", "by one of"),
        ("<after>x</after><index>1</index>", "by one of"),
    ],
)
def test_mistakes(content: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        read(content)


@pytest.mark.parametrize(
    ("written", "content"),
    [
        (write_set(), ""),
        (write_set(count=0), "<count>0</count>"),
        (write_set("a&", "b"), "<first>a&amp;</first><last>b</last>"),
        (write_set("a", "a", index=0, count=1), '<first index="0">a</first><last>a</last><count>1</count>'),
    ],
)
def test_write(written: etree._Element, content: str) -> None:
    end = f">{content}</set>" if content else "/>"
    assert serialize(written).decode() == f'<set xmlns="{RSM}"{end}'
