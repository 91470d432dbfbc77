"""Included files, secrets in files, and paths that begin beside the file that sets them."""

from pathlib import Path

import pytest

from xmppws.config import ConfigError, load


def write(directory: Path, **files: str) -> Path:
    """Write files by their names without `.toml`, and return the path of `main`."""
    for name, text in files.items():
        path = directory / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory / "main.toml"


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(mistake).replace(f"{path.parent}/", "") for mistake in raised.value.mistakes]


def test_files_are_read_as_one(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        **{
            "main": 'include = ["conf.d/*.toml", "more.toml"]\nlog.level = "debug"\n[modules.mam]\nkeep = 1',
            "conf.d/b": '[hosts."b.example"]\nmodules.mam.days = 2',
            "conf.d/a": '[hosts."a.example"]\n[c2s]\nmax_depth = 50',
            "more": '[c2s]\nread_timeout = "1m"\n[hosts."b.example".c2s]\nmax_auth_attempts = 5',
        },
    )
    config = load(main)
    assert list(config.hosts) == ["a.example", "b.example"]
    assert (config.c2s.max_depth, config.c2s.read_timeout, config.log.level) == (50, 60.0, "debug")
    assert config.hosts["b.example"].modules == {"mam": {"keep": 1, "days": 2}}
    assert config.hosts["b.example"].c2s.max_auth_attempts == 5


def test_an_included_file_includes_beside_itself(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        **{
            "main": 'include = ["sub/first.toml"]',
            "sub/first": 'include = ["second.toml"]',
            "sub/second": 'log.level = "debug"',
        },
    )
    assert load(main).log.level == "debug"


def test_a_pattern_may_match_nothing_and_a_name_may_not(tmp_path: Path) -> None:
    assert load(write(tmp_path, main='include = ["conf.d/*.toml"]')).hosts == {}
    assert mistakes(write(tmp_path, main='\ninclude = ["none.toml"]')) == [
        'main.toml:2: include[0] = "none.toml": there is no such file'
    ]


def test_a_directory_with_magic_in_its_name_is_taken_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "[a]"
    directory.mkdir()
    assert load(write(directory, main='include = ["b*.toml"]', bc='log.level = "debug"')).log.level == "debug"


def test_a_key_that_two_files_set_is_told_with_both_places(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["other.toml"]\n[log]\nlevel = "info"\n[[http.listeners]]\naddress = "unix:/a"',
        other='[log]\nformat = "json"\nlevel = "info"\n[[http.listeners]]\naddress = "unix:/b"\n[http.listeners.x]',
    )
    assert mistakes(main) == [
        "other.toml:3: log.level: is set already, at main.toml:3",
        "other.toml:4: http.listeners: is set already, at main.toml:4",
    ]


def test_circles_and_repetitions_are_named(tmp_path: Path) -> None:
    main = write(tmp_path, main='include = ["a.toml", "a.toml"]', a='include = ["b.toml"]', b='include = ["a.toml"]')
    assert mistakes(main) == [
        'main.toml:1: include[1] = "a.toml": includes a.toml again, after main.toml:1',
        'b.toml:1: include[0] = "a.toml": files include each other in a circle: a.toml → b.toml → a.toml',
    ]


def test_mistakes_of_all_files_are_told_in_their_order(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main='include = ["a.toml", "b.toml", 3]\nx = 1',
        a="y =",
        b='include = "c"\n\n[log]\nlevel = 1\nlevl = 2',
    )
    assert [mistake.split(" = ")[0] for mistake in mistakes(main)] == [
        "main.toml:1: include[2]",
        "main.toml:2: x",
        "b.toml:1: include",
        "b.toml:4: log.level",
        "b.toml:5: log.levl",
        "a.toml:1: no TOML: Invalid value (at end of document)",
    ]


def test_mistakes_in_a_module_of_a_host_written_in_capitals_have_lines(tmp_path: Path) -> None:
    config = load(write(tmp_path, main='[hosts."A.Example".modules.mam]\nkeep = 1'))
    assert config.source.place(("hosts", "a.example", "modules", "mam", "keep")).line == 2


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("höchst geheim \r\n")
    main = write(tmp_path, main='metrics.token = { file = "token" }')
    assert load(main).metrics.token == "höchst geheim "
    assert load(write(tmp_path, main='metrics.token = "plain"')).metrics.token == "plain"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('{ file = "absent" }', "absent cannot be read: No such file or directory"),
        ('{ file = "." }', "cannot be read: Is a directory"),
        ('{ file = "latin" }', "latin must be UTF-8"),
        ('{ file = "big" }', "big is larger than 65536 bytes"),
        ("{ file = 3 }", "must be a text"),
        ('{ path = "x" }', "must be a text in quotes, or { file ="),
        ("[1234567]", "must be a text in quotes"),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_and_not_shown(tmp_path: Path, value: str, told: str) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "big").write_bytes(b"x" * 65_537)
    (found,) = mistakes(write(tmp_path, main=f"metrics.token = {value}"))
    assert found.startswith("main.toml:1: metrics.token: ")
    assert told in found
    assert "1234567" not in found


def test_a_secret_with_a_mistyped_name_is_not_shown(tmp_path: Path) -> None:
    assert mistakes(write(tmp_path, main='metrics.tokn = "geheim"')) == [
        "main.toml:1: metrics.tokn: is not known; did you mean metrics.token?"
    ]


def test_what_is_no_secret_must_stand_in_the_file(tmp_path: Path) -> None:
    assert "must be a text in quotes" in mistakes(write(tmp_path, main='storage.url = { file = "x" }'))[0]


def test_certificates_and_plugins_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        **{
            "main": 'include = ["hosts/a.toml"]\nplugin_paths = ["plugins", "/opt/plugins"]',
            "hosts/a": '[hosts.a]\ncertificate = "a.pem"\nkey = "/etc/a.key"',
        },
    )
    config = load(main)
    assert config.plugin_paths == (f"{tmp_path}/plugins", "/opt/plugins")
    assert config.hosts["a"].certificate == f"{tmp_path}/hosts/a.pem"
    assert config.hosts["a"].key == "/etc/a.key"
