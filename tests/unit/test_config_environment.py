"""Options from the environment go over those of files, and are checked as strictly."""

from pathlib import Path

import pytest

from xmppws.config import ConfigError, demo_config, load
from xmppws.config.environment import variable

FILE = """\
admins = ["a@example.com"]
[http]
listen = ["127.0.0.1:1", "127.0.0.1:2"]
[hosts."example.com"]
"""


def mistakes(path: Path | None, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, environment)
    return [str(mistake) for mistake in raised.value.mistakes]


def test_variables_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text(FILE)
    config = load(
        path,
        {
            "XMPPWS_HTTP_LISTEN": "127.0.0.1:5280, unix:/run/x",
            "XMPPWS_HTTP_CONSOLE": "true",
            "XMPPWS_ADMINS": "b@example.com",
            "XMPPWS_C2S_READ_TIMEOUT": "90",
            "XMPPWS_C2S_PING_INTERVAL": "0.5",
            "XMPPWS_C2S_MAX_STANZA_SIZE": "512KiB",
            "XMPPWS_C2S_MAX_DEPTH": "20",
            "XMPPWS_LOG_LEVEL": "debug",
            "XMPPWS_DATA_DIR": "1",
            "XMPPWS_METRICS_LISTEN": "",
            "XMPPWS_METRICS_TOKEN": "a,b",
            "XMPPWSX": "somebody else's",
        },
    )
    assert config.http.listen == ("127.0.0.1:5280", "unix:/run/x")
    assert config.http.console is True
    assert config.admins == config.hosts["example.com"].admins == ("b@example.com",)
    assert (config.c2s.read_timeout, config.c2s.ping_interval, config.c2s.max_depth) == (90.0, 0.5, 20)
    assert config.c2s.max_stanza_size == config.hosts["example.com"].c2s.max_stanza_size == 524_288
    assert (config.log.level, config.data_dir) == ("debug", Path("1"))
    assert (config.metrics.listen, config.metrics.token) == ((), "a,b")


def test_a_relative_path_begins_in_the_working_directory() -> None:
    assert load(None, {"XMPPWS_PLUGIN_PATHS": "plugins"}).plugin_paths == ("plugins",)


def test_they_go_over_the_demo_too() -> None:
    assert demo_config({"XMPPWS_HTTP_LISTEN": "0.0.0.0:5280"}).http.listen == ("0.0.0.0:5280",)
    with pytest.raises(ConfigError, match="XMPPWS_LOG_LEVEL"):
        demo_config({"XMPPWS_LOG_LEVEL": "loud"})


def test_mistakes_name_the_variable() -> None:
    assert mistakes(
        None, XMPPWS_LOG_LEVL="debug", XMPPWS_HTTP_LISTEN="127.0.0.1:1,here", XMPPWS_C2S_MAX_DEPTH="deep"
    ) == [
        "environment: XMPPWS_LOG_LEVL: sets no option; did you mean XMPPWS_LOG_LEVEL?",
        'environment: XMPPWS_C2S_MAX_DEPTH = "deep": must be a whole number, without quotes',
        'environment: XMPPWS_HTTP_LISTEN = "here": must be "address:port", "[IPv6 address]:port", "unix:/path" '
        'or "systemd:name"',
    ]


@pytest.mark.parametrize("name", ["XMPPWS_HOSTS", "XMPPWS_INCLUDE", "XMPPWS_MODULES", "XMPPWS_HTTP_LISTENERS"])
def test_tables_and_includes_come_from_files_only(name: str) -> None:
    assert f"{name}: sets no option" in mistakes(None, **{name: "x"})[0]


def test_a_secret_is_not_shown() -> None:
    (found,) = mistakes(None, XMPPWS_METRICS_TOKEN="ge\0heim")
    assert "heim" not in found


def test_a_file_whose_section_is_no_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text("http = 1")
    assert mistakes(path, XMPPWS_HTTP_LISTEN="127.0.0.1:1") == [f"{path}:1: http = 1: must be a table, [http]"]


def test_the_name_of_a_variable_is_section_and_option() -> None:
    assert variable(("http", "websocket_path")) == "XMPPWS_HTTP_WEBSOCKET_PATH"


def test_names_of_the_programs_before_it_are_read_as_our_own(tmp_path: Path) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text(FILE.replace('"127.0.0.1:2"', '"[::1]:2", "unix:/run/x.sock", "systemd:8081"'))
    config = load(
        path,
        {
            "LETSHARE_SERVER_PORT": "8080",
            "LETSHARE_JWT_SECRET": "8080",
            "LETSHARE_LOG_LEVEL": "error",
            "LETSHARES": "somebody else's",
        },
    )
    assert config.http.listen == ("127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock", "systemd:8081")
    assert (config.jwt.secret, config.hosts["example.com"].jwt.secret, config.log.level) == ("8080", "8080", "error")
    assert load(None, {"LETSHARE_SERVER_PORT": "0"}).http.listen == ("127.0.0.1:0",)


def test_both_names_may_be_set_where_they_say_the_same() -> None:
    config = load(
        None,
        {
            "XMPPWS_HTTP_LISTEN": "0.0.0.0:8080",
            "LETSHARE_SERVER_PORT": "8080",
            "XMPPWS_LOG_LEVEL": "debug",
            "LETSHARE_LOG_LEVEL": "debug",
        },
    )
    assert (config.http.listen, config.log.level) == (("0.0.0.0:8080",), "debug")


def test_names_that_contradict_each_other_are_both_told_and_a_secret_is_not() -> None:
    assert mistakes(
        None,
        XMPPWS_HTTP_LISTEN="0.0.0.0:5280",
        LETSHARE_SERVER_PORT="8080",
        XMPPWS_JWT_SECRET="geheim",
        LETSHARE_JWT_SECRET="geheimer",
        XMPPWS_LOG_LEVEL="debug",
        LETSHARE_LOG_LEVEL="info",
    ) == [
        "environment: LETSHARE_JWT_SECRET: says something else than XMPPWS_JWT_SECRET: set one of them",
        "environment: LETSHARE_LOG_LEVEL: says something else than XMPPWS_LOG_LEVEL: set one of them",
        "environment: LETSHARE_SERVER_PORT: says something else than XMPPWS_HTTP_LISTEN: set one of them",
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LETSHARE_SERVER_PORT", "http", ' = "http": must be a port, 0 to 65535'),
        ("LETSHARE_SERVER_PORT", "65536", ' = "65536": must be a port, 0 to 65535'),
        ("LETSHARE_SERVER_PORT", "", ' = "": must be a port, 0 to 65535'),
        ("LETSHARE_LOG_LEVEL", "loud", ' = "loud": must be "debug" or "info" or "warning" or "error"'),
        ("LETSHARE_JWT_SECERT", "geheim", ": sets no option; did you mean LETSHARE_JWT_SECRET?"),
        ("LETSHARE_METRICS_TOKEN", "geheim", ": sets no option; did you mean XMPPWS_METRICS_TOKEN?"),
        ("LETSHARE_WHATEVER", "1", ": sets no option"),
    ],
)
def test_mistakes_in_other_names_are_told_with_them(name: str, value: str, told: str) -> None:
    assert mistakes(None, **{name: value}) == [f"environment: {name}{told}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('http.listen = ["unix:/run/x.sock"]', 'LETSHARE_SERVER_PORT = "1": sets no option: http.listen has no "addr'),
        ("http.listen = 3", "xmppws.toml:1: http.listen = 3: must be a list"),
        ("http = 3", "http = 3: must be a table"),
    ],
)
def test_a_port_needs_an_address(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "xmppws.toml"
    path.write_text(text)
    (found,) = mistakes(path, LETSHARE_SERVER_PORT="1")
    assert told in found
