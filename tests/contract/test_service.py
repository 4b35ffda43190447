"""The plugin as a service: addresses, its neighbours, its figures, its end."""

from __future__ import annotations

import stat
import subprocess
import time
from pathlib import Path

import pytest


def test_ping_tells_totals(kubelet):
    answer = kubelet.plugin.client.request("GET", "/status", json=[])
    assert answer.status_code == 200
    told = answer.json()
    assert told["status"] == "ok"
    assert int(told["resources"]["cpu"]) >= 1
    assert int(told["resources"]["memory"]) > 2**20
    assert told["resources"]["pods"] == "1000"
    assert "taints" not in told


def test_operators_routes(plugin):
    assert plugin.client.get("/healthz").text == "ok\n"
    assert plugin.client.get("/readyz").status_code == 200
    assert plugin.client.get("/version").json()["site"] == "local"
    assert 'flashlink_pods{state="running"}' in plugin.client.get("/metrics").text
    described = plugin.client.get("/openapi.json").json()
    assert set(described["paths"]) >= {"/create", "/delete", "/status", "/getLogs"}
    assert "PodUID" in described["components"]["schemas"]["CreateAnswer"]["properties"]


@pytest.mark.parametrize(("method", "route", "code"), [("GET", "/create", 405), ("GET", "/nothing", 404)])
def test_wrong_route_is_one_line(plugin, method, route, code):
    answer = plugin.client.request(method, route)
    assert answer.status_code == code
    assert answer.text.count("\n") == 1
    assert "/openapi.json" in answer.text


def test_pages_of_a_browser_are_refused(plugin, pod):
    one = pod("true")
    answer = plugin.client.post("/create", json={"pod": one}, headers={"Origin": "http://example.org"})
    assert answer.status_code == 400
    assert not plugin.pod_folder(one).exists()


def test_unix_socket_is_private_and_a_stale_one_is_replaced(new_plugin, new_kubelet, pod, tmp_path):
    path = tmp_path / "run" / "plugin.sock"
    plugin = new_plugin()
    plugin.stop()
    plugin.listen = f"unix:{path}"
    plugin.restart()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kubelet = new_kubelet(plugin)
    one = pod("true")
    kubelet.create(one)
    assert kubelet.until(one, "Succeeded", "Failed") == "Succeeded"
    plugin.kill()
    assert path.exists()
    plugin.restart()
    assert plugin.client.get("/healthz").status_code == 200
    assert plugin.stop() == 0
    assert not path.exists()


def test_address_in_use_is_one_line(plugin, tmp_path):
    command = [*plugin.command()[:-3], plugin.endpoint.removeprefix("http://"), "--state", str(tmp_path / "other")]
    ended = subprocess.run(command, env=plugin.environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"{plugin.endpoint}: the address is in use" in ended.stderr


def test_state_in_use_is_one_line(plugin):
    ended = subprocess.run(plugin.command(), env=plugin.environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"another plugin (process {plugin.process.pid}) uses this state folder" in ended.stderr


def test_public_address_is_warned_of(new_plugin):
    plugin = new_plugin()
    assert "no authentication" not in plugin.errors.read_text()
    plugin.stop()
    plugin.listen = "0.0.0.0:0"
    plugin.restart()
    assert "no authentication" in plugin.errors.read_text()


def test_a_file_in_place_of_the_socket_is_left_alone(plugin, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    command = [*plugin.command()[:-3], f"unix:{path}", "--state", str(tmp_path / "other")]
    ended = subprocess.run(command, env=plugin.environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert path.read_text() == "data"


def test_connection_is_kept_between_calls(plugin):
    with plugin.new_client() as client:
        ports = set()
        for _ in range(3):
            answer = client.get("/healthz")
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.1)
    assert len(ports) == 1


def test_nothing_is_left_in_the_folder_of_pods_but_pods(kubelet, plugin, pod, eventually):
    one = pod("true")
    kubelet.create(one)
    kubelet.until(one, "Succeeded")
    names = {path.name for path in plugin.pod_folder(one).iterdir()}
    eventually(
        lambda: (
            {path.name for path in Path(plugin.pod_folder(one)).iterdir()} <= {"job.sh", "job.log", "journal", "logs"}
        )
    )
    assert "job.sh" in names
