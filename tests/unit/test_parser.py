import itertools
import time
from collections.abc import Callable
from xml.parsers import expat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from xmppws.errors import BadFormat, NotWellFormed, Reason, RestrictedXml, StreamError, StreamPolicyViolation
from xmppws.xml import ns
from xmppws.xml.parser import _PARSES_PER_PARSER, Element, Parser, Vocabulary, tag_of
from xmppws.xml.writer import serialize

# One for the file, as there is one for a process: libxml2 keeps the names of all tests anyway.
VOCABULARY = Vocabulary()
_numbers = itertools.count()


def parse(frame: str | bytes, **limits: int) -> Element:
    # An address of its own, so that no test pays for another one's names.
    parser = Parser(VOCABULARY, f"address {next(_numbers)}", **limits)
    return parser.parse(frame.encode() if isinstance(frame, str) else frame)


def refusal(frame: str | bytes, **limits: int) -> Reason:
    with pytest.raises(StreamError) as caught:
        parse(frame, **limits)
    return caught.value.reason


# --- what is XML here ---


def test_element() -> None:
    root = parse("<message xmlns='jabber:client' to='a'><body xml:lang='de'>grüß 🙂 &lt;&#x21;&amp;</body></message>")
    assert tag_of(root) == "{jabber:client}message"
    assert root[0].text == "grüß 🙂 <!&"
    assert root[0].get(ns.LANG) == "de"


@pytest.mark.parametrize(
    "declaration",
    [
        "<?xml version='1.0'?>",
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
        "<?xml\tversion = '1.0'\r\n standalone=\"no\" ?>\n ",
    ],
)
def test_declarations_that_change_nothing(declaration: str) -> None:
    assert tag_of(parse(declaration + "<a/>")) == "a"


@pytest.mark.parametrize(
    "declaration",
    [
        "<?xml version='1.1'?>",
        "<?xml version='1.0' encoding='iso-8859-1'?>",
        "<?xml version='1.0' encoding='utf-16'?>",
        "<?xml version='1.0' encoding='utf-7'?>",
        "<?xml version='1.0\"?>",
        "<?xml encoding='utf-8'?>",
        "<?XML version='1.0'?>",
        "<?xml\x0bversion='1.0'?>",
        "<?xml-stylesheet version='1.0'?>",
        "<?xml version='1.0'?><?xml version='1.0'?>",
        "<?xml version='1.0'?><!DOCTYPE a>",
    ],
)
def test_other_declarations(declaration: str) -> None:
    assert refusal(declaration + "<a/>") is Reason.RESTRICTED_XML


@pytest.mark.parametrize(
    "frame",
    [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<a><!-- --></a>",
        "<!-- --><a/>",
        "<a/><!-- -->",
        "<a><?b c?></a>",
        "<a/><?b c?>",
        "<a><![CDATA[ ]]><!-- ]]> --></a>",
        "<!-- <![CDATA[ --><a/><!-- ]]> -->",
        "<a><![CDATA[",
        "<a><![cdata[x]]></a>",
        "<a><! [CDATA[x]]></a>",
        "<a><![CDATA[x]]><![CDATA[<!DOCTYPE a>]]>]]><?b?></a>",
    ],
)
def test_restricted(frame: str) -> None:
    with pytest.raises((RestrictedXml, NotWellFormed)) as caught:
        parse(frame)
    # A section without an end holds everything after it, so it is not well-formed instead.
    assert isinstance(caught.value, RestrictedXml) == (frame != "<a><![CDATA[")


def test_cdata_is_text() -> None:
    assert parse("<a><![CDATA[<!-- <?x ?> ]] > <!DOCTYPE &amp;]]>b<![CDATA[]]>!?</a>").text == (
        "<!-- <?x ?> ]] > <!DOCTYPE &amp;b!?"
    )


@pytest.mark.parametrize(
    "frame",
    [
        "<![CDATA[<!DOCTYPE a>]]><a/>",
        "<a/><![CDATA[<!DOCTYPE a>]]>",
        "<a b='<![CDATA[<!DOCTYPE a>]]>'/>",
        "<a <![CDATA[<?b ?>]]>/>",
        "<<![CDATA[]]>!DOCTYPE a><a/>",
    ],
)
def test_cdata_where_it_cannot_stand(frame: str) -> None:
    assert refusal(frame) is Reason.NOT_WELL_FORMED


@pytest.mark.parametrize("frame", [b"<![CDATA[" * 30_000, b"<a><![CDATA[]]>" * 20_000, b"<?" * 130_000])
def test_unclosed_sections_take_linear_time(frame: bytes) -> None:
    started = time.process_time()
    with pytest.raises(StreamError):
        parse(frame)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", Reason.NOT_XML),
        (b" <a/>", Reason.NOT_XML),
        (b"\n<a/>", Reason.NOT_XML),
        (b"x", Reason.NOT_XML),
        (b"\xef\xbb\xbf<a/>", Reason.NOT_XML),
        ("<a/>".encode("utf-16"), Reason.NOT_UTF8),
        ("<a/>".encode("utf-16-be"), Reason.NOT_XML),
        ("<a/>".encode("utf-16-le"), Reason.NOT_WELL_FORMED),
        (b"<a>\xff</a>", Reason.NOT_UTF8),
        (b"\xff<a/>", Reason.NOT_UTF8),
        (b"<a>\xc0\xaf</a>", Reason.NOT_UTF8),
        (b"<a>\xed\xa0\x80</a>", Reason.NOT_UTF8),
        (b"<a>\xc3", Reason.NOT_UTF8),
        (b"<?xml version='1.0'?>", Reason.NOT_XML),
        *(
            (frame, Reason.NOT_WELL_FORMED)
            for frame in (
                b"<",
                b"<a",
                b"<a>",
                b"</a>",
                b"<a></b>",
                b"<a/><b/>",
                b"<a/>text",
                b"<a b='1' b='2'/>",
                b"<a xmlns:p='x' xmlns:q='x' p:b='' q:b=''/>",
                b"<p:a/>",
                b"<a p:b=''/>",
                b"<a xmlns:p=''/>",
                b"<a:b:c xmlns:a='x'/>",
                b"<a>&nbsp;</a>",
                b"<a>&b</a>",
                b"<a>&#0;</a>",
                b"<a>&#xd800;</a>",
                b"<a>\0</a>",
                b"<a>\x01</a>",
                b"<a>\xef\xbf\xbe</a>",
                b"<a>]]></a>",
                b"<a b='<'/>",
                b"<a xmlns='}'/>",
                b"<a xmlns='foo bar'/>",
                b"<a xmlns:x='http://www.w3.org/2000/xmlns/'/>",
            )
        ),
    ],
)
def test_not_one_element(frame: bytes, reason: Reason) -> None:
    with pytest.raises(NotWellFormed) as caught:
        parse(frame)
    assert caught.value.reason is reason


@pytest.mark.parametrize("frame", ["<a/> ", "<a/>\r\n\t"])
def test_blanks_after_the_element(frame: str) -> None:
    assert tag_of(parse(frame)) == "a"


def test_predefined_entities_do_not_grow() -> None:
    assert parse("<a b='&quot;&apos;'>&amp;amp;&gt;</a>").text == "&amp;>"


# --- limits ---


def nested(depth: int) -> str:
    return "<a>" * depth + "</a>" * depth


def test_depth() -> None:
    assert len(parse(nested(7), max_depth=7)) == 1
    assert refusal(nested(8), max_depth=7) is Reason.TOO_DEEP
    assert refusal("<a><a/>" + nested(7) + "</a>", max_depth=7) is Reason.TOO_DEEP


def test_depth_is_not_breadth() -> None:
    assert len(parse("<a>" + "<b/>" * 50 + "</a>", max_depth=2)) == 50


def test_depth_beyond_what_libxml2_reads() -> None:
    assert refusal(nested(5000)) is Reason.NOT_WELL_FORMED


@pytest.mark.parametrize("child", ["<b/>", "<b></b>", "<b>&lt;</b>"])
def test_elements(child: str) -> None:
    assert len(parse("<a>" + child * 9 + "</a>", max_elements=10)) == 9
    assert refusal("<a>" + child * 10 + "</a>", max_elements=10) is Reason.TOO_MANY_ELEMENTS
    assert refusal("<a>" + child * 1000 + "</a>", max_elements=10) is Reason.TOO_MANY_ELEMENTS


def test_elements_are_counted_before_the_parse() -> None:
    with pytest.raises(StreamPolicyViolation):
        parse("<" * 21, max_elements=10)


# --- the prefix xml ---


def test_xml_lang_and_base() -> None:
    root = parse("<a xml:lang='de' xml:base='http://a.example/'/>")
    assert len(root.attrib) == 2


@pytest.mark.parametrize(
    "frame", ["<a xml:space='preserve'/>", "<a><b xml:foo='1'/></a>", "<xml:a/>", "<a><xml:b/></a>"]
)
def test_other_names_with_the_prefix_xml(frame: str) -> None:
    with pytest.raises(BadFormat, match="xml"):
        parse(frame)


def test_text_may_say_xml() -> None:
    assert parse("<a>xml:foo</a>").text == "xml:foo"


# --- names that a stricter parser does not know ---


@pytest.mark.parametrize("make", [lambda n: f"<{n}/>", lambda n: f"<a {n}=''/>", lambda n: f"<a xmlns:{n}='b'/>"])
@pytest.mark.parametrize("name", ["\U00010000x", "\u0133x"])
def test_names_of_the_fifth_edition_are_refused_each_time(name: str, make: Callable[[str], str]) -> None:
    for _ in range(2):
        assert refusal(make(name)) is Reason.NOT_WELL_FORMED


@pytest.mark.parametrize("frame", ["<a b:c=''>{}</a>", "<b:a>{}</b:a>", "<a><b::c/>{}</a>", "<a :b=''>{}</a>"])
def test_unbound_prefixes_are_refused_each_time(frame: str) -> None:
    # libxml2 warns of the relative namespace, and that hides from lxml that there was an error before.
    for _ in range(2):
        assert refusal(frame.format("<x xmlns='relative'/>")) is Reason.NOT_WELL_FORMED


def test_names_of_all_editions_may_be_foreign() -> None:
    assert tag_of(parse("<größe/>")) == "größe"


# --- names are memory ---


def new_names(number: int) -> list[str]:
    return [f"n{next(_numbers)}" for _ in range(number)]


def elements(names: list[str]) -> str:
    return "<a>" + "".join(f"<{name}/>" for name in names) + "</a>"


def attributes(names: list[str]) -> str:
    return "<a " + " ".join(f"{name}=''" for name in names) + "/>"


def prefixes(names: list[str]) -> str:
    return "<a " + " ".join(f"xmlns:{name}='a'" for name in names) + "/>"


def namespaces(names: list[str]) -> str:
    return "<a>" + "".join(f"<b xmlns='{name}'/>" for name in names) + "</a>"


def unused_namespaces(names: list[str]) -> str:
    return "<p:a xmlns:p='a'>" + "".join(f"<p:b xmlns='{name}'/>" for name in names) + "</p:a>"


FORMS = [elements, attributes, prefixes, namespaces, unused_namespaces]


def cost(names: list[str]) -> int:
    return sum(160 + len(name) for name in names)


def small(per_stream: int = 1 << 40, per_address: int = 1 << 40, per_process: int = 1 << 40) -> Vocabulary:
    """Return a vocabulary in which nothing but the named budget is scarce, and which knows the names of `FORMS`."""
    made = Vocabulary(per_stream=per_stream, per_address=per_address, per_process=per_process)
    for form in FORMS:
        made.known |= set(_all_names(form(["x"])))
    return made


def _all_names(frame: str) -> set[str]:
    vocabulary = Vocabulary()
    Parser(vocabulary, "").parse(frame.encode())
    return vocabulary.known


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("budget", ["per_stream", "per_address", "per_process"])
def test_names_over_the_budget_are_refused_and_cost_nothing(form: Callable[[list[str]], str], budget: str) -> None:
    vocabulary = small()
    setattr(vocabulary, budget, 5000)
    parser = Parser(vocabulary, "address")
    frame = form(new_names(100)).encode()
    with pytest.raises(StreamPolicyViolation) as caught:
        parser.parse(frame)
    assert caught.value.reason is Reason.TOO_MANY_NAMES
    assert vocabulary.spent == 0


@pytest.mark.parametrize("form", FORMS)
def test_each_name_is_charged(form: Callable[[list[str]], str]) -> None:
    vocabulary = small()
    names = new_names(100)
    Parser(vocabulary, "address").parse(form(names).encode())
    assert vocabulary.spent >= cost(names)
    spent = vocabulary.spent
    Parser(vocabulary, "address").parse(form(names).encode())
    assert vocabulary.spent == spent


@pytest.mark.parametrize("form", FORMS)
def test_known_names_are_free_when_all_is_spent(form: Callable[[list[str]], str]) -> None:
    vocabulary = small()
    frame = form(new_names(20)).encode()
    # First met by whichever of the two parsers reads such a frame when there is plenty.
    Parser(vocabulary, "address").parse(frame)
    vocabulary.per_process = vocabulary.spent
    assert len(Parser(vocabulary, "other").parse(frame)) in (0, 20)
    with pytest.raises(StreamPolicyViolation):
        Parser(vocabulary, "other").parse(form(new_names(1)).encode())


def fill(parser: Parser) -> int:
    """Send frames with new names until one is refused, and return how many passed."""
    for passed in itertools.count():
        try:
            parser.parse(elements(new_names(3)).encode())
        except StreamPolicyViolation:
            return passed
    raise AssertionError


def test_budget_of_a_stream() -> None:
    vocabulary = small(per_stream=10_000)
    passed = fill(Parser(vocabulary, "address"))
    assert 10 < passed < 25
    assert fill(Parser(vocabulary, "address")) == passed


def test_budget_of_an_address() -> None:
    vocabulary = small(per_address=10_000)
    assert fill(Parser(vocabulary, "address")) > 10
    assert fill(Parser(vocabulary, "address")) == 0
    assert fill(Parser(vocabulary, "other")) > 10


def test_budget_of_the_process() -> None:
    vocabulary = small(per_process=10_000)
    assert fill(Parser(vocabulary, "address")) > 10
    assert fill(Parser(vocabulary, "other")) == 0
    assert Parser(vocabulary, "other").parse(b"<a><x/></a>") is not None


def test_strangers_leave_names_to_users() -> None:
    vocabulary = small(per_process=30_000)
    stranger, user = Parser(vocabulary, "stranger", reserve=20_000), Parser(vocabulary, "user")
    assert fill(stranger) > 10
    assert vocabulary.spent <= 10_000
    assert fill(user) > 20
    # With less than the reserve left, what is known still passes.
    assert stranger.parse(b"<a xmlns:x='a'><x/></a>") is not None
    assert fill(stranger) == 0


def test_an_address_that_paid_nothing_is_not_remembered() -> None:
    vocabulary = small()
    frame = prefixes(new_names(1)).encode()
    Parser(vocabulary, "address").parse(frame)
    Parser(vocabulary, "other").parse(frame)
    assert list(vocabulary._addresses) == ["address"]


@pytest.mark.parametrize("start", ["<a b='' b=''>", "<a q:b=''>", "<a><b></c>", "<a>&b;", "<a>"])
def test_malformed_frames_are_charged(start: str) -> None:
    vocabulary = small()
    for round in range(1, 4):
        names = new_names(50)
        with pytest.raises(NotWellFormed):
            Parser(vocabulary, "address").parse((start + elements(names)).encode())
        # libxml2 reads on after most of these mistakes, so all the names count, wherever they stand.
        assert vocabulary.spent >= round * cost(names)
        assert vocabulary.left("address") == vocabulary.per_address - vocabulary.spent


def test_malformed_frames_do_not_teach() -> None:
    vocabulary = small(per_process=100_000)
    (name,) = new_names(1)
    with pytest.raises(NotWellFormed):
        Parser(vocabulary, "address").parse(f"<a><{name}/>".encode())
    assert name not in vocabulary.known


def test_malformed_frame_that_is_read_ahead_never_reaches_lxml() -> None:
    vocabulary = Recorded(0)
    with pytest.raises(NotWellFormed):
        Parser(vocabulary, "address").parse(b"<a b='' b=''><c/></a>")
    assert vocabulary.frames == []
    assert vocabulary.spent == 0


class Recorded(Vocabulary):
    """Remembers what reached lxml."""

    def __init__(self, per_stream: int, per_address: int = 1 << 40, per_process: int = 1 << 40) -> None:
        super().__init__(per_stream=per_stream, per_address=per_address, per_process=per_process)
        self.frames: list[bytes] = []

    def document(self, frame: bytes) -> Element:
        self.frames.append(frame)
        return super().document(frame)


_name = st.text("abcdefgh", min_size=1, max_size=2)
_dear = st.builds(
    lambda namespace, names, form: (form(names) if form is not elements else elements(names)).replace(
        "<a", f"<a xmlns='{namespace}'", 1
    ),
    st.text("uvw", max_size=900),
    st.lists(_name, max_size=250, unique=True),
    st.sampled_from([elements, attributes]),
)


@given(st.lists(_dear, max_size=5), st.integers(0, 200_000))
def test_nothing_overdraws(frames: list[str], budget: int) -> None:
    vocabulary = Vocabulary(per_stream=1 << 40, per_address=1 << 40, per_process=budget)
    for frame in frames:
        try:
            Parser(vocabulary, "address").parse(frame.encode())
        except StreamPolicyViolation as error:
            assert error.reason is Reason.TOO_MANY_NAMES
        assert vocabulary.spent <= budget


def test_one_long_namespace_for_many_elements_is_dear() -> None:
    # Once an overdraft that made the server refuse everybody's frames, names known or not.
    vocabulary = Vocabulary()
    parser = Parser(vocabulary, "address")
    names = ["".join(pair) for pair in itertools.product("abcdefghijklm", repeat=2)]
    with pytest.raises(StreamPolicyViolation):
        parser.parse(elements(names[:160]).replace("<a", f"<a xmlns='{'u' * 780}'", 1).encode())
    assert vocabulary.spent <= vocabulary.per_stream
    assert parser.parse(b"<a/>") is not None


def test_memory_stays_bounded_whatever_is_sent() -> None:
    vocabulary = Recorded(20_000, 100_000, 1_000_000)
    refused = 0
    before = resident()
    for number in range(4000):
        names = ["a" * 30 + name for name in new_names(25)]
        frame = FORMS[number % 5](names) if number % 7 else "<a b='' b=''>" + elements(names)
        vocabulary.frames.clear()
        try:
            Parser(vocabulary, f"address {number % 20}").parse(frame.encode())
        except StreamPolicyViolation:
            refused += 1
            assert not vocabulary.frames
        except NotWellFormed:
            pass
        assert vocabulary.spent <= vocabulary.per_process
    assert refused > 3000
    assert resident() - before < 8 * 1024 * 1024


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("forgets", [False, True])
def test_renewal_of_the_parser(forgets: bool) -> None:
    vocabulary = Vocabulary(forgets=forgets)
    parser = Parser(vocabulary, "address")
    parser.parse(b"<a><renewed/></a>")
    first = vocabulary._document
    spent = vocabulary.spent
    for _ in range(_PARSES_PER_PARSER - 2):
        parser.parse(b"<a/>")
    assert vocabulary._document is first
    parser.parse(b"<a/>")
    assert vocabulary._document is not first
    assert (vocabulary.spent, "renewed" in vocabulary.known) == ((161, False) if forgets else (spent, True))
    assert vocabulary.left("address") == vocabulary.per_address - vocabulary.spent


# --- everything else ---

_pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"<a>", b"</a>", b"<a/>", b"<b xmlns='u'>", b"</b>", b"<p:c xmlns:p='v' p:d='e' d='f'>", b"</p:c>",
                b"<p:a/>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?", b"?>", b"<!DOCTYPE a>", b"&lt;", b"&#13;",
                b"&#9;", b"&b;", b" xml:lang='x'", b"<", b">", b"'", b'"', b"=", b"\xef\xbb\xbf", b"\xff", b"\r\n",
                b"<?xml version='1.0'?>", b"<a xml:foo=''>", b"<a b='&#10;&quot;'>", b"<a xmlns=''>", b"<\xc4\xb3/>",
            ]
        ),
        st.text(max_size=4).map(lambda text: text.encode(errors="replace")),
        st.binary(max_size=3),
    ),
    max_size=12,
)  # fmt: skip
_frames = st.one_of(
    st.binary(max_size=40),
    _pieces.map(b"".join),
    _pieces.map(lambda pieces: b"<a>" + b"".join(pieces) + b"</a>"),
    _pieces.map(lambda pieces: b"<a b='" + b"".join(pieces) + b"'/>"),
    st.text(max_size=6).map(lambda name: f"<{name} {name}=''/>".encode(errors="replace")),
    st.text(max_size=6).map(lambda name: f"<a xmlns='{name}'/>".encode(errors="replace")),
)


def same(one: Element, other: Element) -> bool:
    return (
        (one.tag, one.text, one.tail, dict(one.attrib)) == (other.tag, other.text, other.tail, dict(other.attrib))
        and len(one) == len(other)
        and all(map(same, one, other))
    )


@given(_frames)
@example("<a b='\u0133'>\u0133</a>".encode())
@example(b"<a>\xc2\x85\xe2\x80\xa8&#13;&#x85;</a>")
def test_any_bytes(frame: bytes) -> None:
    try:
        root = parse(frame)
    except StreamError:
        return
    written = serialize(root)
    assert same(parse(written), root)
    strict = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
    strict.Parse(written, True)


@given(_frames)
def test_both_ways_of_reading_agree(frame: bytes) -> None:
    # Whether expat reads a frame first depends on the budget; what comes of it must not.
    vocabulary = Vocabulary()
    outcomes = []
    for per_stream in (1 << 40, 0):
        vocabulary.per_stream = per_stream
        try:
            outcomes.append(etree.tostring(Parser(vocabulary, "").parse(frame)))
        except StreamError as error:
            outcomes.append(error.end.text.encode())
    # Only of a frame that was refused anyway are there names still to be paid for.
    assert outcomes[0] == outcomes[1] or (outcomes[0][:1] != b"<" and outcomes[1].startswith(b"too-many-names"))
