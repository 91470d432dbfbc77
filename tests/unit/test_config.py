"""The loader: what is right is read exactly, what is wrong is all told, with file, line, key and rule."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec.structs import replace

from xmppws.config import Config, ConfigError, Duration, Opt, Section, demo_config, load, module_options


def write(directory: Path, text: str | bytes) -> Path:
    path = directory / "xmppws.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(directory: Path, text: str | bytes) -> list[str]:
    path = write(directory, text)
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(mistake).removeprefix(str(path)) for mistake in raised.value.mistakes]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, ""))
    assert config == Config(source=config.source)
    assert config.data_dir == Path("/var/lib/xmppws")
    assert config.http.listen == ("127.0.0.1:5280",)
    assert config.http.trusted_proxies == ("127.0.0.1", "::1")
    assert (config.c2s.read_timeout, config.c2s.max_stanza_size) == (840.0, 262_144)
    assert not config.hosts


def test_all_kinds_of_values_are_read(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            """
            data_dir = "data"
            [http]
            listen = ["0.0.0.0:80", "[::1]:5280", "unix:/run/xmppws/http.sock"]
            trusted_proxies = ["10.0.0.0/8", "2001:db8::/32", "unix"]
            consider_websocket_secure = true
            [c2s]
            auth_timeout = "1.5s"
            ping_interval = "5m"
            pong_timeout = 20
            close_timeout = "500ms"
            read_timeout = "1d"
            max_stanza_size = "16KB"
            max_unauthenticated_size = 10000
            max_depth = 12
            [hosts."example.com"]
            """,
        )
    )
    c2s = config.c2s
    assert config.data_dir == Path("data")
    assert config.http.listen == ("0.0.0.0:80", "[::1]:5280", "unix:/run/xmppws/http.sock")
    assert config.http.consider_websocket_secure is True
    assert (c2s.auth_timeout, c2s.ping_interval, c2s.pong_timeout) == (1.5, 300.0, 20.0)
    assert (c2s.close_timeout, c2s.read_timeout) == (0.5, 86_400.0)
    assert (c2s.max_stanza_size, c2s.max_unauthenticated_size, c2s.max_depth) == (16_000, 10_000, 12)
    assert config.hosts["example.com"].http_host == ("example.com",)


def test_a_host_takes_from_top_level_what_it_does_not_set(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            """
            admins = ["Root@Example.com"]
            modules_enabled = ["websocket", "ping"]
            [modules.mam]
            expire_after = "30d"
            keep = 1
            [hosts."Example.COM"]
            modules_disabled = ["ping"]
            modules.mam.expire_after = "1d"
            [hosts."example.org"]
            admins = []
            modules_enabled = ["websocket"]
            """,
        )
    )
    com, org = config.hosts["example.com"], config.hosts["example.org"]
    assert com.admins == ("root@example.com",)
    assert (com.modules_enabled, com.modules_disabled) == (("ping",), ("ping",))
    assert com.modules == {"mam": {"expire_after": "1d", "keep": 1}}
    assert (org.admins, org.modules_enabled) == ((), ())
    assert org.modules == {"mam": {"expire_after": "30d", "keep": 1}}


def test_every_mistake_is_told_in_order(tmp_path: Path) -> None:
    text = """\
[c2s]
auth_timeot = "30s"
auth_timeout = "soon"

max_depth = true
[http]
listen = [
  "127.0.0.1:5280",
  "127.0.0.1",
]
[hosts."example.com"]
admins = [3]
"""
    assert mistakes(tmp_path, text) == [
        ':2: c2s.auth_timeot = "30s": is not known; did you mean c2s.auth_timeout?',
        ':3: c2s.auth_timeout = "soon": must be a time such as "30s", "5m", "1h", "30d" or "500ms", '
        "or a number of seconds",
        ":5: c2s.max_depth = true: must be a whole number, without quotes",
        ':9: http.listen[1] = "127.0.0.1": must be "address:port", "[IPv6 address]:port", "unix:/path" '
        'or "systemd:name"',
        ':12: hosts."example.com".admins[0] = 3: must be a text in quotes, "like this"',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data_dir = 3", "must be a text"),
        ('data_dir = ""', "must be a path"),
        ('data_dir = "a\\u0000b"', "null character"),
        ('admins = "root@example.com"', "must be a list"),
        ('admins = ["root"]', "must be an address such as"),
        ('admins = ["root@example.com/phone"]', "without resource"),
        ('admins = ["a@b@c d"]', "must be an address such as"),
        ('admins = ["a@x", "A@X"]', "each entry only once"),
        ('modules_enabled = ["mod-x"]', "must be the name of a module"),
        ('authentication = ["magic"]', 'must be "internal"'),
        ("modules = 1", "one table for each module"),
        ("modules.mam = 1", "one table for each module"),
        ("http = 1", "must be a table, [http]"),
        ("[[http]]", "must be a table, [http]"),
        ('http.listen = ["h:70000"]', "must be"),
        ('http.listen = ["unix:here"]', "whole path"),
        ('http.listen = [":5280"]', "must be"),
        ('http.listen = ["[::g]:5280"]', "must be"),
        ('http.listen = ["a_b!:5280"]', "must be"),
        ('http.websocket_path = "xmpp"', 'must start with "/"'),
        ('http.trusted_proxies = ["10.0.0.1/8"]', "host bits zero"),
        ('http.trusted_proxies = ["proxy"]', "must be an address"),
        ('http.consider_websocket_secure = "true"', "true or false"),
        ('http.forwarded_header = "X-Forwarded-For"', 'must be "x-forwarded-for" or "forwarded"'),
        ('http.default_host = "a@b"', "without user"),
        ('http.default_host = "other.example"', "one of the hosts"),
        ("c2s.read_timeout = nan", "must be a time"),
        ("c2s.read_timeout = -1", "must be a time"),
        ("c2s.read_timeout = 0", 'must be at least "100ms"'),
        ('c2s.read_timeout = "31d"', 'must be at most "30d"'),
        ('c2s.read_timeout = "1 week"', "must be a time"),
        ("c2s.read_timeout = true", "must be a time"),
        ("c2s.max_elements = 500.0", "must be a whole number"),
        ("c2s.max_stanza_size = 9999", "must be at least 10000"),
        ("c2s.max_stanza_size = 1.5", "must be a size"),
        ("c2s.max_stanza_size = -1", "must be a size"),
        ('c2s.max_stanza_size = "1.5MiB"', "must be a size"),
        ('c2s.max_unauthenticated_size = "1MiB"', "must not be larger than c2s.max_stanza_size"),
        ('c2s.max_send_buffer = "100KiB"', "must not be smaller than c2s.max_stanza_size"),
        ('storage.url = "postgresql://db"', 'must be "sqlite:"'),
        ('log.level = "loud"', 'must be "debug" or'),
        ("hosts = 1", "one table for each host"),
        ("[[hosts]]", "one table for each host"),
        ('hosts."example.com" = 1', 'must be a table, [hosts."example.com"]'),
        ('[hosts."a@b"]', "without user"),
        ('[hosts."a b"]', "must be a domain name"),
        ('[hosts."a.x"]\n[hosts."A.x"]', "is the same host as 'a.x'"),
        ('hosts.a.http_host = ["a:80"]', "without scheme and port"),
        ('hosts.a.external_url = "chat"', "must be a URL"),
        ('hosts.a.external_url = "https://x/?q"', "must be a URL"),
        ('hosts.a.external_url = "https://x:port/"', "must be a URL"),
        ('hosts.a.allowed_origins = ["https://x/"]', "without a path"),
        ('hosts.a.allowed_origins = ["x"]', "must be"),
        ('hosts.a.allowed_origins = ["https://u@x"]', "must be"),
        (
            'hosts.a.router = "Up.Stream"',
            'must be "local", "upstream", the name of an installed router, or "package.module:Class"',
        ),
        ("x = 1979-05-27T07:32:00Z", "is not known"),
    ],
)
def test_a_wrong_value_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert told in found[0]
    assert found[0].startswith((":1: ", ":2: "))


def test_a_size_that_is_wrong_in_itself_is_not_compared(tmp_path: Path) -> None:
    text = 'c2s.max_stanza_size = "big"\nc2s.max_unauthenticated_size = "1MiB"'
    assert len(mistakes(tmp_path, text)) == 1


def test_long_keys_and_values_are_cut(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, f'{"k" * 10_000} = "{"v" * 10_000}"')
    assert len(found) < 250


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    found = mistakes(tmp_path, '"a\\u001b[31m\\n" = 1\nlog.level = "\\u001b[31m\\n"')
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a =", ":1: no TOML"),
        (b"\n[x\n", ":2: no TOML"),
        (b"admins = []\nadmins = []\n", "no TOML: Cannot overwrite"),
        (b"\n\n\xff", ":3: must be UTF-8"),
        (b"x = " + b"[" * 100_000, "brackets nest too deep"),
        (b"x = " + b"9" * 10_000, ":1: no TOML"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: bytes, told: str) -> None:
    (found,) = mistakes(tmp_path, text)
    assert told in found


@pytest.mark.parametrize(("name", "told"), [("absent", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        load(tmp_path / name)
    assert raised.value.mistakes[0].line == 0


def test_a_byte_order_mark_and_crlf_change_nothing(tmp_path: Path) -> None:
    assert load(write(tmp_path, b'\xef\xbb\xbf[log]\r\nlevel = "debug"\r\n')).log.level == "debug"
    assert mistakes(tmp_path, b"\xef\xbb\xbf\r\n[log]\r\nlevel = 1\r\n")[0].startswith(":3: ")


class Archiving(Section, frozen=True, kw_only=True):
    """Options of a module, as modules declare them."""

    expire_after: Annotated[Duration, Opt("How long.", minimum=1)] = 60.0
    keep: Annotated[int, Opt("How many.")] = 5


MODULE = """\
[modules.mam]
keep = {keep}
[hosts."example.com".modules.mam]
expire_after = {expire_after}
"""


def test_a_module_reads_its_own_options(tmp_path: Path) -> None:
    config = load(write(tmp_path, MODULE.format(keep=7, expire_after='"1d"')))
    assert module_options(config, "example.com", "mam", Archiving) == Archiving(expire_after=86_400.0, keep=7)
    assert module_options(config, "example.com", "ping", Archiving) == Archiving()


def test_mistakes_in_module_options_have_lines_too(tmp_path: Path) -> None:
    config = load(write(tmp_path, MODULE.format(keep='"7"', expire_after=0)))
    with pytest.raises(ConfigError) as raised:
        module_options(config, "example.com", "mam", Archiving)
    assert [(mistake.line, mistake.key) for mistake in raised.value.mistakes] == [
        (2, "modules.mam.keep"),
        (4, 'hosts."example.com".modules.mam.expire_after'),
    ]


def test_a_configuration_cannot_be_changed() -> None:
    config = demo_config()
    with pytest.raises(AttributeError):
        config.http.listen = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.hosts["x"] = config.hosts["localhost"]  # type: ignore[index]


def test_the_demo_serves_this_machine_only() -> None:
    config = demo_config()
    from_file = load(Path(__file__).parents[2] / "conf" / "demo.toml")
    assert replace(from_file, source=config.source) == config
    assert config.http.listen == ("127.0.0.1:5280",)
    assert config.http.consider_websocket_secure
    assert config.data_dir == Path("var")
    assert "localhost" in config.hosts["localhost"].http_host
