"""The `xmppws` command as people run it: real processes, real files, a real terminal."""

import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
COMMAND = (sys.executable, "-m", "xmppws")


def xmppws(*arguments: str | Path, stdin: str | bytes = "") -> subprocess.CompletedProcess[str]:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run([*COMMAND, *arguments], input=data, capture_output=True, env=ENVIRONMENT, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    assert "Warning" not in err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "xmppws.toml"
    path.write_text(f'data_dir = "{tmp_path}/data"\n[hosts."example.com"]\n[hosts."example.org"]\n')
    return path


def accounts(config: Path, host: str = "example.com") -> list[str]:
    done = xmppws("user", "list", "-c", config, host)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("xmppws: ")
    return done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["user", "--help"], ["user", "add", "--help"]])
def test_help(arguments: list[str]) -> None:
    assert xmppws(*arguments).stdout.startswith("usage: xmppws")


def test_version() -> None:
    assert xmppws("--version").stdout == "xmppws 0.1.0\n"


@pytest.mark.parametrize("arguments", [[], ["sreve"], ["user"], ["user", "add"], ["user", "add", "a@b", "--file", "x"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    done = xmppws(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: xmppws")


def test_check_config_says_ok(config: Path) -> None:
    assert xmppws("check-config", "-c", config).stdout == f"{config}: ok; virtual hosts: example.com, example.org\n"


def test_check_config_tells_every_mistake(config: Path) -> None:
    config.write_text('[c2s]\nauth_timeot = "30s"\n[log]\nlevel = 3\n')
    done = xmppws("check-config", "-c", config)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f'{config}:2: c2s.auth_timeot = "30s": is not known; did you mean c2s.auth_timeout?',
        f'{config}:4: log.level = 3: must be a text in quotes, "like this"',
    ]


@pytest.mark.parametrize("command", [["serve"], ["serve", "--demo"], ["user", "list", "example.com"]])
def test_every_command_refuses_a_wrong_configuration(config: Path, command: list[str]) -> None:
    config.write_text("x = 1")
    assert "x = 1: is not known" in refused(xmppws(*command, "-c", config))
    assert "No such file" in refused(xmppws(*command, "-c", config.parent / "absent"))


def test_a_user_is_added_changed_listed_and_deleted(config: Path) -> None:
    done = xmppws("user", "add", "-c", config, "Bob@Example.com", "--password-stdin", stdin="secret\n")
    assert (done.returncode, done.stdout) == (0, "added bob@example.com\n")
    xmppws("user", "add", "-c", config, "alice@example.com", "--password-stdin", stdin="secret")
    assert accounts(config) == ["alice@example.com", "bob@example.com"]
    assert accounts(config, "example.org") == []
    again = xmppws("user", "add", "-c", config, "bob@example.com", "--password-stdin", stdin="other\n")
    assert "bob" in refused(again)
    changed = xmppws("user", "passwd", "-c", config, "bob@example.com", "--password-stdin", stdin="other\n")
    assert changed.stdout == "changed the password of bob@example.com\n"
    assert xmppws("user", "delete", "-c", config, "bob@example.com").stdout == "deleted bob@example.com\n"
    assert accounts(config) == ["alice@example.com"]
    assert "no account bob@example.com" in refused(xmppws("user", "delete", "-c", config, "bob@example.com"))
    gone = xmppws("user", "passwd", "-c", config, "bob@example.com", "--password-stdin", stdin="x\n")
    assert "no account bob@example.com" in refused(gone)


@pytest.mark.parametrize(
    ("jid", "told"),
    [
        ("bob", "must be an address such as user@example.com"),
        ("bob@example.com/phone", "without resource"),
        ("b b@example.com", "localpart"),
        ("bob@example.net", "example.net is no virtual host of"),
        (b"b\xffb@example.com", "surrogate"),
    ],
)
def test_a_jid_that_cannot_be_an_account_is_refused(config: Path, jid: str | bytes, told: str) -> None:
    text = os.fsdecode(jid)
    assert told in refused(xmppws("user", "add", "-c", config, text, "--password-stdin", stdin="secret\n"))


@pytest.mark.parametrize(
    ("stdin", "told"),
    [
        (b"", "no password was given"),
        (b"\n", "password"),
        (b"\xff\n", "not UTF-8"),
        (b"\x07\n", "password"),
        (b"x" * 100_000, "longer than 1024"),
    ],
)
def test_a_password_that_cannot_be_is_refused(config: Path, stdin: bytes, told: str) -> None:
    done = xmppws("user", "add", "-c", config, "bob@example.com", "--password-stdin", stdin=stdin)
    assert told in refused(done)
    assert accounts(config) == []


def test_without_a_terminal_nobody_can_be_asked(config: Path) -> None:
    assert "--password-stdin" in refused(xmppws("user", "add", "-c", config, "bob@example.com", stdin="secret\n"))


def test_closed_standard_input_is_no_password(config: Path) -> None:
    script = f'"{sys.executable}" -m xmppws user add -c "{config}" bob@example.com --password-stdin <&-'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (1, "xmppws: no password was given\n")


def at_a_terminal(config: Path, *typed: str) -> tuple[int, str]:
    """Run `user add` on a terminal of its own and type each answer when it asks; return status and screen."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [*COMMAND, "user", "add", "-c", str(config), "bob@example.com"], ENVIRONMENT)
    screen = ""
    answers = list(typed)
    while True:
        try:
            screen += os.read(terminal, 1000).decode()
        except OSError:  # Linux answers EIO once the other end is closed.
            break
        if answers and screen.endswith(": "):
            os.write(terminal, answers.pop(0).encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


def test_a_terminal_asks_twice_and_shows_nothing(config: Path) -> None:
    status, screen = at_a_terminal(config, "secret\n", "secret\n")
    assert status == 0
    assert "added bob@example.com" in screen
    assert "secret" not in screen


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        (("secret\n", "other\n"), 1, "the two passwords differ"),
        (("\x04",), 1, "no password was given"),
        (("secret\n", "\x03"), 130, ""),
    ],
)
def test_a_terminal_where_it_goes_wrong(config: Path, typed: tuple[str, ...], status: int, told: str) -> None:
    ended, screen = at_a_terminal(config, *typed)
    assert (ended, "Traceback" in screen) == (status, False)
    assert told in screen
    assert accounts(config) == []


def test_a_file_of_accounts_goes_in_whole(config: Path) -> None:
    file = config.parent / "accounts"
    file.write_text("alice@example.com pass word\n\nZoë@example.com pässword\r\n")
    assert xmppws("user", "add", "-c", config, "--file", file).stdout == "added 2 accounts to example.com\n"
    assert accounts(config) == ["alice@example.com", "zoë@example.com"]


def test_a_file_with_bad_lines_adds_nothing_and_tells_each(config: Path) -> None:
    file = config.parent / "accounts"
    file.write_text(
        "alice@example.com secret-1\n"
        "bob@example.com\n"
        "secret-3! carol@example.com\n"
        "Alice@example.com secret-4\n"
        "dave@example.org secret-5\n"
        "erin@example.com  secret-6\n"
        "frank@example.com secret\x07-7\n"
    )
    told = refused(xmppws("user", "add", "-c", config, "--file", file))
    assert [line.split(": ", 1)[0] for line in told.splitlines()[1:]] == [f"{file}:{line}" for line in range(2, 8)]
    assert "secret" not in told
    assert accounts(config) == []


def test_a_file_with_an_account_that_exists_adds_nothing(config: Path) -> None:
    xmppws("user", "add", "-c", config, "bob@example.com", "--password-stdin", stdin="secret\n")
    file = config.parent / "accounts"
    file.write_text("alice@example.com secret\nbob@example.com secret\n")
    told = refused(xmppws("user", "add", "-c", config, "--file", file))
    assert told == f"xmppws: nothing was added\n{file}:2: bob@example.com exists already\n"
    assert accounts(config) == ["bob@example.com"]


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "there are no accounts"), (b"\n\xff", ":2: must be UTF-8"), (None, "No such file")]
)
def test_a_file_that_is_none_is_refused(config: Path, content: bytes | None, told: str) -> None:
    file = config.parent / "accounts"
    if content is not None:
        file.write_bytes(content)
    assert told in refused(xmppws("user", "add", "-c", config, "--file", file))


SSHA = "{SSHA}GKlKGLvmZbTnFStvY1f7mG4S8R9zYWx0"


def test_a_file_of_hashes_with_bad_lines_adds_nothing_and_tells_each(config: Path) -> None:
    file = config.parent / "accounts"
    file.write_text(
        f"alice@example.com {SSHA}\n"
        "bob@example.com secret-2\n"
        "carol@example.com $6$secret-3\n"
        "dave@example.com\n"
        f"erin@example.com {SSHA} \n"
        f"{SSHA} frank@example.com\n"
        "gina@example.com SCRAM-SHA-1$0:c2VjcmV0$c2VjcmV0:c2VjcmV0\n"
        "hugo@example.com SCRAM-SHA-1$4096:c2VjcmV0$c2VjcmV0:c2VjcmV0\n"
    )
    told = refused(xmppws("user", "add", "-c", config, "--hashed", "--file", file))
    assert [line.split(": ", 1)[0] for line in told.splitlines()[1:]] == [f"{file}:{line}" for line in range(2, 9)]
    rules = (
        *("of no kind that can be checked", "looks like sha512_crypt, but is damaged", 'must be "JID hash"'),
        *("the iteration count must be from 4096 to 1000000", "the StoredKey has 6 bytes, and must have 20"),
    )
    for rule in rules:
        assert rule in told
    assert not [secret for secret in ("secret", "SSHA}", "c2VjcmV0") if secret in told]
    assert accounts(config) == []


def test_a_file_of_hashes_adds_no_account_twice(config: Path) -> None:
    file = config.parent / "accounts"
    file.write_text(f"alice@example.com {SSHA}\n")
    assert xmppws("user", "add", "-c", config, "--hashed", "--file", file).returncode == 0
    again = refused(xmppws("user", "add", "-c", config, "--hashed", "--file", file))
    assert again == f"xmppws: nothing was added\n{file}:1: alice@example.com exists already\n"
    assert "alice" in refused(xmppws("user", "add", "-c", config, "alice@example.com", "--password-stdin", stdin="x\n"))
    assert accounts(config) == ["alice@example.com"]


def test_hashes_come_from_files_alone(config: Path) -> None:
    done = xmppws("user", "add", "-c", config, "--hashed", "alice@example.com")
    assert done.returncode == 2 and "--hashed goes with --file FILE" in done.stderr


def test_a_host_of_anonymous_users_has_no_accounts(config: Path) -> None:
    config.write_text(f'data_dir = "{config.parent}"\n[hosts."example.com"]\nauthentication = ["anonymous"]\n')
    told = refused(xmppws("user", "add", "-c", config, "alice@example.com", "--password-stdin", stdin="secret\n"))
    assert told == "xmppws: example.com has no accounts of its own: its authentication is anonymous\n"


def test_accounts_in_memory_cannot_be_reached(config: Path) -> None:
    config.write_text('storage.url = "memory:"\n[hosts."example.com"]\n')
    assert "in the running server" in refused(xmppws("user", "list", "-c", config, "example.com"))


def test_a_data_directory_that_cannot_be_is_named(config: Path) -> None:
    (config.parent / "data").write_text("a file")
    assert str(config.parent / "data") in refused(xmppws("user", "list", "-c", config, "example.com"))


@pytest.mark.parametrize("host", ["example.net", "a b", "bob@example.com"])
def test_listing_a_host_that_is_none_is_refused(config: Path, host: str) -> None:
    refused(xmppws("user", "list", "-c", config, host))


def test_a_reader_that_goes_away_is_no_error(config: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [*COMMAND, "check-config", "-c", config],
            stdout=output,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def served(config: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "serve", "-c", config, *arguments], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def until(process: subprocess.Popen[str], text: str) -> str:
    """Read the log up to the line that holds a text."""
    assert process.stderr
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came: {seen}")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_server_runs_until_it_is_told_to_stop(config: Path, signum: signal.Signals) -> None:
    config.write_text('http.listen = ["127.0.0.1:0"]\nmetrics.listen = []\n' + config.read_text())
    with served(config) as process:
        until(process, "listens on")
        added = xmppws("user", "add", "-c", config, "bob@example.com", "--password-stdin", stdin="secret\n")
        process.send_signal(signum)
        _, log = process.communicate(timeout=30)
    assert (process.returncode, added.returncode) == (0, 0)
    assert "Traceback" not in log
    assert accounts(config) == ["bob@example.com"]


def test_a_port_that_is_taken_is_named(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(f'http.listen = ["{where}"]\nmetrics.listen = []\n' + config.read_text())
        assert where.rpartition(":")[2] in refused(xmppws("serve", "-c", config))


def test_a_server_without_a_virtual_host_says_so(config: Path) -> None:
    config.write_text(f'data_dir = "{config.parent}/data"\nhttp.listen = ["127.0.0.1:0"]\nmetrics.listen = []\n')
    with served(config) as process:
        assert "no virtual host is configured" in until(process, "listens on")
        process.terminate()


def test_the_demo_needs_its_host(config: Path) -> None:
    assert "localhost" in refused(xmppws("serve", "--demo", "-c", config))
