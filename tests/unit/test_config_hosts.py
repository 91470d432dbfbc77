"""Limits that a host has of its own, listeners, and what does not go together."""

from pathlib import Path

import pytest

from xmppws.config import Address, ConfigError, HostC2S, Listener, address, load


def read(directory: Path, text: str) -> Path:
    path = directory / "xmppws.toml"
    path.write_text(text)
    return path


def mistakes(directory: Path, text: str) -> list[str]:
    path = read(directory, text)
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(mistake).removeprefix(f"{path}:") for mistake in raised.value.mistakes]


def test_a_host_takes_limits_over_from_c2s_one_by_one(tmp_path: Path) -> None:
    config = load(
        read(
            tmp_path,
            """
            [c2s]
            max_auth_attempts = 5
            max_stanza_size = "128KiB"
            [hosts."a.example".c2s]
            max_stanza_size = "512KiB"
            [hosts."b.example"]
            """,
        )
    )
    assert config.hosts["a.example"].c2s == HostC2S(max_stanza_size=524_288, max_auth_attempts=5)
    assert config.hosts["b.example"].c2s == HostC2S(max_stanza_size=131_072, max_auth_attempts=5)


def test_an_option_that_no_host_may_set_is_shown_its_place(tmp_path: Path) -> None:
    assert mistakes(tmp_path, '[hosts.a.c2s]\nping_interval = "1s"') == [
        '2: hosts.a.c2s.ping_interval = "1s": is not known; did you mean c2s.ping_interval?'
    ]


def test_a_limit_of_a_host_is_compared_with_the_others(tmp_path: Path) -> None:
    assert mistakes(tmp_path, '[hosts.a.c2s]\nmax_stanza_size = "2MiB"') == [
        '2: hosts.a.c2s.max_stanza_size: c2s.max_send_buffer, "1MiB", must not be smaller than '
        'hosts.a.c2s.max_stanza_size, "2MiB"'
    ]


def test_listeners_are_read(tmp_path: Path) -> None:
    config = load(
        read(
            tmp_path,
            """
            [[http.listeners]]
            address = "unix:/run/xmppws/http.sock"
            mode = "600"
            proxy_protocol = true
            [[http.listeners]]
            address = "systemd:web"
            tls = true
            certificate = "cert.pem"
            key = "key.pem"
            """,
        )
    )
    assert config.http.listeners == (
        Listener(address="unix:/run/xmppws/http.sock", mode="600", proxy_protocol=True),
        Listener(address="systemd:web", tls=True, certificate=f"{tmp_path}/cert.pem", key=f"{tmp_path}/key.pem"),
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:80", Address("::1", 80)),
        ("unix:/a b", Address(path="/a b")),
        ("systemd:http-1", Address(name="http-1")),
    ],
)
def test_addresses_are_split_and_written_back(text: str, where: Address) -> None:
    assert address(text) == where
    assert str(where) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http.listeners = 1", "1: http.listeners = 1: must be a table in double brackets, [[http.listeners]]"),
        ("[http.listeners]", "1: http.listeners = {}: must be a table in double brackets, [[http.listeners]]"),
        ("http.listeners = [1]", "1: http.listeners[0] = 1: must be a table"),
        ("[[http.listeners]]", "1: http.listeners[0]: must say its address"),
        ('[[http.listeners]]\naddres = ""', "did you mean http.listeners[0].address?"),
        ('[[http.listeners]]\naddress = "systemd:"', "the name of a systemd socket"),
        ('[[http.listeners]]\naddress = "systemd:a:b"', "the name of a systemd socket"),
        ('[[http.listeners]]\naddress = "unix:/a"\nmode = "0999"', 'must be an octal mode such as "0660"'),
        ('[[http.listeners]]\naddress = "unix:/a"\nkey = "k"', "3: http.listeners[0].key: needs the certificate"),
        ('[[http.listeners]]\naddress = "unix:/a"\ncertificate = "c"', "it needs tls = true"),
        ('[[http.listeners]]\naddress = "unix:/a"\ntls = true', "needs a certificate, here or in a host"),
        ('hosts.a.key = "k"', "1: hosts.a.key: needs the certificate"),
        ('admin_socket = "admin.sock"', "must be a whole path"),
        ("log.error_max_entries = 0", "must be at least 1"),
        ('log.format = "xml"', 'must be "text" or "json"'),
    ],
)
def test_a_wrong_listener_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    found = mistakes(tmp_path, text)
    assert any(told in mistake for mistake in found), found
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("listen", "taken"),
    [
        ('["127.0.0.1:80", "0.0.0.0:80"]', "0.0.0.0:80 is taken already, by http.listen[0]"),
        ('["[::]:80", "[::1]:80"]', "[::1]:80 is taken already, by http.listen[0]"),
        ('["127.0.0.1:5282"]', "127.0.0.1:5282 is taken already, by metrics.listen[0]"),
        ('["unix:/run/l"]', "unix:/run/l is taken already, by http.listen[0]"),
        ('["unix:/run/a"]', "unix:/run/a is taken already, by http.listen[0]"),
    ],
)
def test_two_listeners_on_one_address_are_told(tmp_path: Path, listen: str, taken: str) -> None:
    text = f'admin_socket = "/run/a"\nhttp.listen = {listen}\n[[http.listeners]]\naddress = "unix:/run/l"'
    (found,) = mistakes(tmp_path, text)
    assert taken in found


@pytest.mark.parametrize(
    "listen",
    [
        '["127.0.0.1:0", "[::1]:0"]',
        '["0.0.0.0:80", "[::]:80"]',
        '["127.0.0.1:80", "127.0.0.2:80"]',
        '["localhost:80", "127.0.0.1:80"]',
        '["systemd:a", "systemd:b"]',
    ],
)
def test_addresses_that_only_look_alike_pass(tmp_path: Path, listen: str) -> None:
    assert load(read(tmp_path, f"http.listen = {listen}"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('http_default_host = "x"', "http.default_host"),
        ('http_external_url = "x"', 'hosts."example.com".external_url'),
        ("c2s_timeout = 1", "c2s.auth_timeout"),
        ("c2s_stanza_size_limit = 1", "c2s.max_stanza_size"),
        ("cross_domain_websocket = true", 'hosts."example.com".allowed_origins'),
        ('VirtualHost = "x"', 'hosts."example.com"'),
        ("http_ports = [5280]", "http.listen"),
        ('[hosts."example.com".http_paths]', "http.websocket_path"),
        ("[ssl]", 'hosts."example.com".certificate'),
        ("consider_websocket_secure = true", "http.consider_websocket_secure"),
        ("trusted_proxies = []", "http.trusted_proxies"),
        ("hosts.a.trusted_proxies = []", "http.trusted_proxies"),
        ("http_host = []", 'hosts."example.com".http_host'),
        ("c2s.listen = []", "http.listen"),
        ('data_pth = "/x"', "data_dir"),
    ],
)
def test_names_of_prosody_and_of_other_sections_are_known(tmp_path: Path, text: str, name: str) -> None:
    (found,) = mistakes(tmp_path, text)
    assert found.endswith(f"is not known; did you mean {name}?")


def test_what_is_like_nothing_gets_no_hint(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "qqqq = 1") == ["1: qqqq = 1: is not known"]


def test_hosts_say_who_may_log_in(tmp_path: Path) -> None:
    text = 'authentication = ["anonymous"]\n[hosts."a.example"]\n[hosts."b.example"]\nauthentication = {}\n'
    config = load(read(tmp_path, text.format('["internal", "anonymous"]')))
    assert config.hosts["a.example"].authentication == ("anonymous",)
    assert config.hosts["b.example"].authentication == ("internal", "anonymous")


def test_somebody_has_to_be_able_to_log_in(tmp_path: Path) -> None:
    assert mistakes(
        tmp_path, 'authentication = []\n[hosts."a.example"]\n[hosts."b.example"]\nauthentication = []\n'
    ) == [
        '1: authentication = []: must name at least one, such as "internal"',
        '4: hosts."b.example".authentication = []: must name at least one, such as "internal"',
    ]
    (twice,) = mistakes(tmp_path, '[hosts."a.example"]\nauthentication = ["internal", "internal"]\n')
    assert twice.endswith("must have each entry only once")
