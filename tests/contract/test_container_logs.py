"""``kubectl logs`` through interLink: live, cut, followed, and only the container's own words."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def test_log_of_a_running_container(kubelet, pod, eventually):
    one = pod("echo begun; sleep 30")
    kubelet.create(one)
    eventually(lambda: kubelet.logs(one).text == "begun\n")
    kubelet.delete(one)


def test_each_container_has_a_log_of_its_own(kubelet, pod, container):
    one = pod(
        containers=[container("a", "echo from a; echo error >&2"), container("b", "echo from b")], init=["echo i"]
    )
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    assert kubelet.logs(one, "a").text == "from a\nerror\n"
    assert kubelet.logs(one, "b").text == "from b\n"
    assert kubelet.logs(one, "init0").text == "i\n"


@pytest.mark.slow
def test_tail_bytes_since_and_timestamps(kubelet, pod):
    one = pod("for i in 1 2 3 4 5; do echo line $i; done; sleep 2.2; echo last")
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    assert kubelet.logs(one, Tail=2).text == "line 5\nlast\n"
    assert kubelet.logs(one, Tail=2, Bytes=9).text == "line 5\nla"
    assert kubelet.logs(one, Bytes=4).text == "line"
    assert kubelet.logs(one, Tail=100).text.count("\n") == 6
    stamped = kubelet.logs(one, Timestamps=True).text.splitlines()
    assert all(STAMP.match(line) for line in stamped)
    assert [STAMP.sub("", line) for line in stamped][-1] == "last"
    assert kubelet.logs(one, SinceTime=stamped[-1].split()[0][:19] + "Z").text == "last\n"
    assert kubelet.logs(one, SinceTime="2999-01-01T00:00:00+02:00").text == ""


def test_wrong_since_time_is_one_line(kubelet, pod):
    answer = kubelet.logs(pod("true"), SinceTime="yesterday")
    assert answer.status_code == 400
    assert "SinceTime: 'yesterday' is not an RFC 3339 time" in answer.text


def test_nothing_yet_is_200_and_an_explanation(kubelet, pod):
    one = pod("echo hello", init=["sleep 30"])
    unknown = kubelet.logs(one)
    assert unknown.status_code == 200
    assert "is known here" in unknown.text
    kubelet.create(one)
    waiting = kubelet.logs(one)
    assert waiting.status_code == 200
    assert "has not started yet" in waiting.text
    assert "has init0, main" in kubelet.logs(one, "other").text
    assert "no previous instance" in kubelet.logs(one, "init0", Previous=True).text
    kubelet.delete(one)


def test_follow_shows_each_line_while_the_container_runs_and_ends_with_it(kubelet, pod, tmp_path):
    """The container goes on when its line was seen; benchmarks/log_tail.py tells how soon that is."""
    seen = f"while [ ! -e {tmp_path}/$i ]; do sleep 0.05; done"
    one = pod(f"for i in 1 2 3; do echo $i; {seen}; done")
    kubelet.create(one)
    request = kubelet.log_request(one, "main", Follow=True)
    lines = []
    with kubelet.plugin.client.stream("GET", "/getLogs", json=request) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            lines.append(line)
            (tmp_path / line).touch()
    assert lines == ["1", "2", "3"]
    assert kubelet.states(one)["main"]["terminated"]["exitCode"] == 0


def test_follow_of_a_silent_log_sends_headers_at_once(kubelet, pod):
    one = pod("sleep 30")
    kubelet.create(one)
    kubelet.until(one, "Running")
    began = time.monotonic()
    with kubelet.plugin.client.stream("GET", "/getLogs", json=kubelet.log_request(one, "main", Follow=True)) as answer:
        assert answer.status_code == 200
        assert time.monotonic() - began < 20
    kubelet.delete(one)


def test_follow_waits_for_a_container_that_has_not_started(kubelet, pod):
    one = pod("echo at last", init=["sleep 1"])
    kubelet.create(one)
    with kubelet.plugin.client.stream("GET", "/getLogs", json=kubelet.log_request(one, "main", Follow=True)) as answer:
        assert answer.read() == b"at last\n"


def test_follow_stops_at_the_byte_limit(kubelet, pod):
    one = pod("while :; do echo 0123456789; sleep 0.1; done")
    kubelet.create(one)
    request = kubelet.log_request(one, "main", Follow=True, Bytes=25)
    with kubelet.plugin.client.stream("GET", "/getLogs", json=request) as answer:
        assert answer.read() == b"0123456789\n0123456789\n012"
    kubelet.delete(one)


def test_follow_ends_when_the_client_leaves(kubelet, plugin, pod, eventually):
    one = pod("echo up; sleep 60")
    kubelet.create(one)
    log = plugin.pod_folder(one) / "logs" / "main.0.log"
    with plugin.new_client() as client:
        request = kubelet.log_request(one, "main", Follow=True)
        with client.stream("GET", "/getLogs", json=request) as answer:
            pieces = answer.iter_raw()  # kept, as letting go of it would end the answer
            assert next(pieces) == b"up\n"
            assert _holds_open(plugin, log)
    eventually(lambda: not _holds_open(plugin, log), 3)
    kubelet.delete(one)


def _holds_open(plugin, log: Path) -> bool:
    for entry in Path(f"/proc/{plugin.process.pid}/fd").iterdir():
        try:
            if entry.readlink() == log:
                return True
        except OSError:  # closed while we looked
            continue
    return False


def test_followed_log_does_not_hold_up_the_end_of_the_plugin(new_plugin, new_kubelet, pod):
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    one = pod("sleep 60")
    kubelet.create(one)
    kubelet.until(one, "Running")
    pieces = []

    def follow() -> None:
        with plugin.new_client() as client:
            request = kubelet.log_request(one, "main", Follow=True)
            with client.stream("GET", "/getLogs", json=request) as answer:
                pieces.append(answer.read())

    reader = threading.Thread(target=follow)
    reader.start()
    time.sleep(0.5)
    assert plugin.stop() == 0
    reader.join()
    assert pieces == [b""]


@pytest.mark.slow
def test_restarted_container_has_a_previous_log(new_plugin, new_kubelet, pod, eventually, monkeypatch):
    monkeypatch.setenv("FLASHLINK_BACKOFF", "1")
    plugin = new_plugin()
    kubelet = new_kubelet(plugin)
    # Kubernetes makes one $ of two: the shell sees $$, its process id.
    one = pod("echo I am $$$$; sleep 1; exit 1", restartPolicy="OnFailure")
    kubelet.create(one)
    eventually(lambda: kubelet.states(one)["main"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    first = kubelet.logs(one).text
    eventually(lambda: kubelet.logs(one, Previous=True).text == first)
    eventually(lambda: kubelet.logs(one).text not in ("", first))
    eventually(lambda: kubelet.ask([one])[0]["containers"][0]["restartCount"] >= 1)
    kubelet.delete(one)


def test_binary_output_comes_byte_for_byte(kubelet, pod):
    one = pod(r"printf '\000\377\r\n\r\303'")
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    assert kubelet.logs(one).content == b"\0\xff\r\n\r\xc3"


def test_a_bounded_log_shows_its_beginning_its_end_and_where_it_was_cut(new_plugin, new_kubelet, pod, eventually):
    plugin = new_plugin(LIMITS__LOG_SIZE="64Ki")
    kubelet = new_kubelet(plugin)
    one = pod("i=0; while [ $i -lt 20000 ]; do printf 'line %07d\\n' $i; i=$((i + 1)); done; sleep 1; echo the end")
    kubelet.create(one)
    request = kubelet.log_request(one, "main", Follow=True)
    with plugin.client.stream("GET", "/getLogs", json=request) as answer:
        followed = answer.read().decode()
    assert followed.startswith("line 0000000\n")
    assert followed.endswith("line 0019999\nthe end\n")
    shown = kubelet.logs(one).text.splitlines()
    (mark,) = [number for number, line in enumerate(shown) if line.startswith("[flashlink: ")]
    cut = int(shown[mark].split()[1])
    numbers = [int(line.split()[1]) for line in shown[:mark] if len(line) == 12]
    assert numbers == list(range(len(numbers)))
    assert [int(line.split()[1]) for line in shown[mark + 1 : -1]] == list(
        range(20000 - len(shown[mark + 1 : -1]), 20000)
    )
    assert len("\n".join([*shown[:mark], *shown[mark + 1 :], ""]).encode()) + cut in (20000 * 13 + 8, 20000 * 13 + 9)
    assert kubelet.logs(one, Tail=2).text == "line 0019999\nthe end\n"
    assert kubelet.logs(one, Bytes=12).text == "line 0000000"


def test_who_opens_standard_error_anew_empties_nothing(kubelet, pod):
    one = pod("echo one; echo two >/dev/stderr; echo three")
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    assert kubelet.logs(one).text == "one\ntwo\nthree\n"
