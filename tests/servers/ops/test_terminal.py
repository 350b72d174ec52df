"""Commands as a person or a pipe uses them: on a terminal, fed line by line, with readers that go away."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import pwd
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

import pytest
from http_server import reply, serving
from scratch_host import Host

from canopsis.ops.prefix import Prefix, become_owner

ALARM = {
    "_id": "a1",
    "state": 2,
    "status": 1,
    "created": time.time() - 125,
    "component": "web1",
    "resource": "disk",
    "output": "x" * 300,
}


class FakeApi:
    """Counts what it is asked; answers alarms, and takes events."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.events: list[dict[str, object]] = []
        self.status = 202
        self.came = threading.Condition()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        with self.came:
            self.paths.append(request.path)
            if request.command == "POST" and self.status < 400:
                self.events += json.loads(body)
            status = self.status if request.command == "POST" else 200
            self.came.notify_all()
        reply(request, status, json.dumps({"data": [ALARM], "total": 1, "detail": "the broker is away"}).encode())

    def await_requests(self, number: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.paths) >= number, 60)

    def await_events(self, number: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.events) >= number, 60)


@pytest.fixture
def api(host: Host) -> Iterator[FakeApi]:
    """An API on a port of its own; ``client.conf`` of the host names it."""
    fake = FakeApi()
    with serving(fake.handle) as port:
        host.write("etc/client.conf", f"[api]\nurl=http://127.0.0.1:{port}\nauthkey=the-key\n")
        yield fake


def begin(host: Host, module: str, *argv: str, **streams: int) -> subprocess.Popen[bytes]:
    run = f"import sys; from canopsis.cli.{module} import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", run, *argv],
        env=os.environ
        | {"CANOPSIS_PREFIX": str(host.prefix.path), "PYTHONPATH": str(Path(__file__).parents[3]), "COLUMNS": ""},
        start_new_session=True,
        **streams,  # type: ignore[call-overload]
    )


class Screen:
    """A terminal with what was written to it."""

    def __init__(self, columns: int) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.text = ""

    def await_text(self, wanted: str, times: int = 1) -> None:
        while self.text.count(wanted) < times:
            assert select.select([self.ours], [], [], 60)[0], f"{wanted!r} did not come: {self.text!r}"
            self.text += os.read(self.ours, 65536).decode()

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def screen() -> Iterator[Screen]:
    found = Screen(columns=90)
    yield found
    found.close()


class TestWatch:
    def test_it_refreshes_until_ctrl_c(self, host: Host, api: FakeApi, screen: Screen) -> None:
        watching = begin(
            host,
            "alarms",
            "--watch",
            "--interval",
            "0.05",
            stdin=screen.theirs,
            stdout=screen.theirs,
            stderr=screen.theirs,
        )
        screen.await_text("\x1b[H\x1b[2J", times=3)
        screen.await_text("web1/disk")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
        assert "Traceback" not in screen.text
        assert len(api.paths) >= 3

    def test_enter_refreshes_at_once(self, host: Host, api: FakeApi, screen: Screen) -> None:
        watching = begin(
            host,
            "alarms",
            "--watch",
            "--interval",
            "600",
            stdin=screen.theirs,
            stdout=screen.theirs,
            stderr=screen.theirs,
        )
        api.await_requests(1)
        screen.await_text("1 alarms")
        screen.type(b"\n")
        api.await_requests(2)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130

    def test_lines_fit_the_terminal(self, host: Host, api: FakeApi, screen: Screen) -> None:
        shown = begin(host, "alarms", stdin=screen.theirs, stdout=screen.theirs, stderr=screen.theirs)
        screen.await_text("1 alarms")
        assert shown.wait(60) == 0
        (line,) = [line for line in screen.text.splitlines() if "web1/disk" in line]
        assert len(line) == 90
        assert line.endswith("…")
        assert len(api.paths) == 1

    def test_what_is_no_terminal_gets_whole_lines(self, host: Host, api: FakeApi) -> None:
        done = host.command("alarms")
        assert "x" * 300 in done.stdout
        assert "\x1b" not in done.stdout
        assert len(api.paths) == 1

    def test_a_reader_that_goes_away_ends_it(self, host: Host, api: FakeApi) -> None:
        watching = begin(
            host,
            "alarms",
            "--watch",
            "--interval",
            "0.02",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(60) == 141
        assert watching.stderr is not None
        assert watching.stderr.read() == b""
        watching.stderr.close()
        assert api.paths


class TestFeeding:
    @staticmethod
    def feeding(host: Host, *argv: str) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
        sending = begin(
            host, "send_event", *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert sending.stdin is not None
        assert sending.stdout is not None
        return sending, sending.stdin, sending.stdout

    def test_a_line_is_sent_before_the_next_comes(self, host: Host, api: FakeApi) -> None:
        sending, lines, said = self.feeding(host, "--batch", "1", "-")
        for number in range(3):
            lines.write(b'{"component": "c%d"}\n' % number)
            lines.flush()
            api.await_events(number + 1)
            assert said.readline().startswith(b"event %d: accepted " % number)
        sending.communicate(timeout=60)
        assert sending.returncode == 0
        assert [event["component"] for event in api.events] == ["c0", "c1", "c2"]

    def test_many_are_sent_in_few_requests(self, host: Host, api: FakeApi, tmp_path: Path) -> None:
        path = tmp_path / "events.json"
        path.write_text("\n".join(json.dumps({"component": f"c{number}"}) for number in range(5000)))
        done = host.command("send_event", "--quiet", str(path))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "5000 accepted, 0 refused\n"
        assert len(api.paths) == 10
        assert len({event["event_id"] for event in api.events}) == 5000

    def test_an_array_is_sent_in_batches_too(self, host: Host, api: FakeApi, tmp_path: Path) -> None:
        path = tmp_path / "events.json"
        path.write_text(json.dumps([{"component": f"c{number}"} for number in range(1200)], indent=1))
        assert host.command("send_event", "--quiet", str(path)).returncode == 0
        assert len(api.events) == 1200
        assert len(api.paths) == 3

    def test_a_broker_that_comes_back_is_waited_for(self, host: Host, api: FakeApi) -> None:
        api.status = 503
        sending, lines, said = self.feeding(host, "--retry-for", "60", "-")
        lines.write(b'{"component": "c"}\n')
        lines.close()
        api.await_requests(1)
        with api.came:
            api.status = 202
        api.await_events(1)
        assert said.read().startswith(b"event 0: accepted ")
        assert sending.wait(60) == 0
        assert len(api.events) == 1
        for stream in (said, sending.stderr):
            assert stream is not None
            stream.close()

    def test_a_broker_that_is_away_is_told(self, host: Host, api: FakeApi) -> None:
        api.status = 503
        done = host.command("send_event", "--component", "c")
        assert done.returncode == 1
        assert "may count or not: 503 Service Unavailable: the broker is away" in done.stderr
        assert api.events == []


def test_root_gives_its_rights_up_for_good(tmp_path: Path) -> None:
    """In a child: a site of somebody else is entered as its owner, and there is no way back."""
    if os.geteuid() != 0:
        # Only root can become somebody; anybody else is sent away.
        with pytest.raises(Exception, match="belongs to root: run this as root"):
            become_owner(Prefix(Path("/")))
        return
    owner = pwd.getpwnam("nobody")
    os.chown(tmp_path, owner.pw_uid, owner.pw_gid)
    child = os.fork()
    if child == 0:
        become_owner(Prefix(tmp_path))
        everybody = (*os.getresuid(), *os.getresgid())
        try:
            os.setuid(0)
        except PermissionError:
            good = everybody == (owner.pw_uid,) * 3 + (owner.pw_gid,) * 3 and os.environ["USER"] == "nobody"
            os._exit(0 if good else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
