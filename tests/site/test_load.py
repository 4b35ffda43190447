"""A site's file, the variables over it, and the one line for what is wrong."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flashlink.errors import RequestError
from flashlink.site.config import Site
from flashlink.site.load import load, schema, state_folder, work_folder

SCHEMA = Path(__file__).parents[2] / "docs" / "site.schema.json"

TOML = """
name = "farm"
listen = "unix:/run/flashlink.sock"

[batch]
cpus = 4
memory = "8Gi"

[volumes]
host_paths = ["/data"]
claims = { results = "/data/results" }
"""

YAML = """
name: farm
listen: unix:/run/flashlink.sock
batch: {cpus: 4, memory: 8Gi}
volumes:
  host_paths: [/data]
  claims: {results: /data/results}
"""


def written(folder: Path, content: object, name: str = "site.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def variables(**values: str) -> dict[str, str]:
    return {f"FLASHLINK_SITE__{key}": value for key, value in values.items()}


def test_without_a_file_all_is_default() -> None:
    assert load(None, {}) == Site()


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    site = load(written(tmp_path, TOML, "site.toml"), {})
    assert site == load(written(tmp_path, YAML, "site.yaml"), {}) == load(written(tmp_path, YAML, "site.yml"), {})
    assert (site.name, site.batch.cpus, site.volumes.claims) == ("farm", 4, {"results": "/data/results"})


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, "", "site.yaml"), {}) == load(written(tmp_path, "", "site.toml"), {}) == Site()


def test_variables_stand_over_the_file(tmp_path: Path) -> None:
    environ = variables(
        BATCH__CPUS="8",
        BATCH__POLL_SECONDS="1.5",
        NAME="5",
        VOLUMES__HOST_PATHS='["/other"]',
        BATCH__OPTIONS='{"queue": "short"}',
    )
    site = load(written(tmp_path, TOML, "site.toml"), {**environ, "FLASHLINK_SITE": "no key", "HOME": "/"})
    assert (site.name, site.batch.cpus, site.batch.memory, site.batch.poll_seconds) == ("5", 8, "8Gi", 1.5)
    assert (site.volumes.host_paths, site.batch.options) == (["/other"], {"queue": "short"})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"nam": "x"}, "nam: no key of a site; did you mean 'name'?"),
        (
            {"batch": {"qqq": 1}},
            "batch.qqq: no key of a site; known are system, poll_seconds, cpus, memory, pods, options",
        ),
        ({"name": "A b"}, "name: 'A b' is not a DNS label (a-z, 0-9 and '-', 63 characters at most)"),
        ({"name": 5}, "name: 5 is not text"),
        ({"batch": []}, "batch: [] is not a table"),
        ({"batch": {"cpus": "4"}}, "batch.cpus: '4' is not a whole number"),
        ({"batch": {"cpus": -1}}, "batch.cpus: -1 is not a whole number >= 0"),
        ({"batch": {"poll_seconds": 0}}, "batch.poll_seconds: 0 is not a number > 0.0"),
        ({"batch": {"memory": "8GB"}}, "batch.memory: '8GB' is not a size in bytes as '512Mi' or '2G'"),
        (
            {"containers": {"runtime": "docker"}},
            "containers.runtime: 'docker' is not one of 'auto', 'apptainer', 'singularity', 'host'",
        ),
        ({"images": {"folders": ["/a", 1]}}, "images.folders[1]: 1 is not text"),
        ({"images": {"aliases": {"a": 1}}}, "images.aliases: {'a': 1} is not a table of which each value is text"),
        ({"volumes": {"host_paths": ["data"]}}, "volumes.host_paths: 'data' is not an absolute path without '..'"),
        (
            {"volumes": {"claims": {"c": "/a/../etc"}}},
            "volumes.claims: '/a/../etc' is not an absolute path without '..'",
        ),
        ({"limits": {"memory": ""}}, "limits.memory: '' is not a size in bytes as '512Mi' or '2G'"),
        ({"listen": "4000"}, "listen: '4000' is not HOST:PORT, [IPv6]:PORT or unix:PATH"),
        ([], "[] is not a table of a site's keys"),
    ],
)
def test_one_line_names_file_key_value_and_expectation(tmp_path: Path, content: object, line: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(RequestError) as caught:
        load(path, {})
    assert str(caught.value) == f"{path}: {line}"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("BATCH__CPU", "3", "names no key of a site; did you mean 'cpus'?"),
        ("LISTEN__PORT", "3", "names no key of a site; known are none"),
        ("BATCH__CPUS", "many", "'many' is not a whole number"),
        ("BATCH__CPUS", "-3", "'-3' is not a whole number >= 0"),
        ("CONTAINERS__RUNTIME", "docker", "'docker' is not one of 'auto', 'apptainer', 'singularity', 'host'"),
        ("VOLUMES__HOST_PATHS", "/data", "'/data' is not JSON, in which lists and tables are written"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        load(None, variables(**{name: text}))
    assert str(caught.value) == f"FLASHLINK_SITE__{name}: {line}"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("site.toml", "a = = 1", "not TOML: "),
        ("site.yaml", "a: [1", "not YAML: "),
        ("site.ini", "a = 1", "a site is a .toml, .yaml or .json file; rename it"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, text: str, line: str) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(RequestError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.toml: No such file or directory; give the file of a site"):
        load(tmp_path / "none.toml", {})
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(RequestError, match="not a text file in UTF-8"):
        load(tmp_path / "bad.toml", {})


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder(Site(name="farm")) == tmp_path / "flashlink" / "sites" / "farm"
    assert work_folder(Site(name="farm")) == tmp_path / "flashlink" / "sites" / "farm" / "work"
    site = Site(state="/var/lib/flashlink", work="/scratch")
    assert (state_folder(site), work_folder(site)) == (Path("/var/lib/flashlink"), Path("/scratch"))


@pytest.mark.parametrize(
    ("batch", "seconds"), [({}, 0.5), ({"system": "slurm"}, 3), ({"system": "slurm", "poll_seconds": 10}, 10)]
)
def test_a_scheduler_of_many_users_is_asked_less_often(tmp_path: Path, batch: dict[str, Any], seconds: float) -> None:
    assert load(written(tmp_path, {"batch": batch}), {}).batch.interval == seconds


def test_the_published_schema_is_in_step() -> None:
    command = "python -c 'import json, flashlink.site.load as s; print(json.dumps(s.schema(), indent=2))'"
    assert json.loads(SCHEMA.read_text()) == schema(), f"write {SCHEMA.name} anew with: {command}"


def test_the_schema_describes_every_key() -> None:
    def keys(kind: Any) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(kind)}

    definitions = schema()["$defs"]
    tables = [
        field.type for field in msgspec.structs.fields(Site) if field.name not in {"name", "listen", "state", "work"}
    ]
    for table in (Site, *tables):
        properties = definitions[table.__name__]["properties"]
        assert set(properties) == keys(table)
        for key in keys(table) if table is not Site else {"name", "listen", "state", "work"}:
            assert properties[key]["description"]
