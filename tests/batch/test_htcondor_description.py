"""What HTCondor is told of a job, and what a site may say of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobSpec
from flashlink.batch.htcondor.description import describe, quoted, row, shape
from flashlink.batch.htcondor.options import Options, read
from flashlink.errors import SiteError
from flashlink.site.load import schema

FOLDER = Path("/srv/pods/uid-1")


def spec(**fields: Any) -> JobSpec:
    return JobSpec("uid-1", "a-pod", FOLDER / "job.sh", FOLDER, **fields)


def test_resources_are_rounded_up_to_htcondors_units() -> None:
    values = row(spec(cpus=1.5, memory=2**30 + 1, disk=1025, gpus=2, walltime=90, grace=20))
    wanted = {"cores": "2", "mebibytes": "1025", "disk_kibibytes": "2", "devices": "2", "walltime": "90"}
    assert {key: values[key] for key in wanted} == wanted
    assert values["minutes"] == "2"
    assert int(values["limit"]) > 90 + 20


def test_half_a_core_is_one() -> None:
    assert row(spec(cpus=0.5))["cores"] == "1"


def test_what_was_not_asked_for_is_left_to_the_site() -> None:
    told = describe(spec(), Options())
    assert not {"request_memory", "request_disk", "request_gpus", "allowed_execute_duration"} & set(told)


def test_where_files_are_shared_the_script_runs_where_it_lies() -> None:
    told = describe(spec(walltime=60), Options())
    assert told["executable"] == "$(script)"
    assert told["transfer_executable"] == "False"
    assert told["allowed_execute_duration"] == "$(walltime)"
    assert "transfer_input_files" not in told


def test_where_they_are_not_the_script_travels_and_ends_itself() -> None:
    told = describe(spec(walltime=60), Options(spool=True))
    assert Path(told["executable"]).stat().st_mode & 0o111
    assert told["transfer_input_files"] == "$(script)"
    assert told["transfer_output_files"] == "pod/journal,pod/logs,pod/end"
    assert told["allowed_execute_duration"] == "$(limit)"
    assert "StageOutFinish" in told["leave_in_queue"]


@pytest.mark.parametrize("spool", [True, False])
def test_a_job_may_start_again_unless_site_or_pod_forbid_it(spool: bool) -> None:
    again = describe(spec(), Options(spool=spool))
    assert "NumJobStarts" not in str(again)
    strict = describe(spec(), Options(spool=spool, requeue=False))
    assert strict["requirements"] == "!((NumJobStarts ?: 0) > 0)"
    assert strict["periodic_remove"] == f"({again['periodic_remove']}) || (JobStatus == 1 && (NumJobStarts ?: 0) > 0)"
    assert strict.get("arguments", "").endswith(" once") == spool
    assert describe(spec(options={"no-requeue": ""}), Options(spool=spool)) == strict


def test_what_may_start_once_has_its_other_requirements_too() -> None:
    told = describe(spec(options={"requirements": "A || B"}), Options(requirements="C || D", requeue=False))
    assert told["requirements"] == "(C || D) && (A || B) && (!((NumJobStarts ?: 0) > 0))"


def test_a_site_adds_to_every_job() -> None:
    site = Options(requirements="HasSingularity", accounting_group="group_lhcb", attributes={"WantFlash": "true"})
    told = describe(spec(), site)
    assert (told["requirements"], told["accounting_group"], told["+WantFlash"]) == (
        "HasSingularity",
        "group_lhcb",
        "true",
    )


def test_a_job_adds_to_what_the_site_requires() -> None:
    told = describe(
        spec(options={"requirements": "Memory > 1", "WantBig": "1"}), Options(requirements="HasSingularity")
    )
    assert (told["requirements"], told["+WantBig"]) == ("(HasSingularity) && (Memory > 1)", "1")


@pytest.mark.parametrize(
    "options",
    [
        {"requirements": '"$ENV(BEARER_TOKEN)" == "x"'},
        {"requirements": "true\nqueue 1000"},
        {"Owner": '"root"'},
        {"leaveinjobqueue": "true"},
        {"FlashlinkUid": '"another"'},
        {"a b": "1"},
        {"flavour": "gpu"},
        {"+": "1"},
    ],
)
def test_a_job_cannot_say_what_is_not_its_own(options: dict[str, str]) -> None:
    with pytest.raises(SiteError):
        describe(spec(options=options), Options())


def test_a_work_folder_that_htcondor_would_misread_is_refused() -> None:
    for folder in ("/srv/$(HOME)", "/srv/a,b"):
        with pytest.raises(SiteError, match="work"):
            row(JobSpec("uid", "name", Path(folder, "job.sh"), Path(folder)))


def test_jobs_of_one_shape_share_a_description() -> None:
    small, large, unlimited = spec(memory=1, walltime=1), spec(memory=2, walltime=2, cpus=8), spec(memory=1)
    assert shape(small) == shape(large)
    assert shape(small) != shape(unlimited)
    assert describe(small, Options()) == describe(large, Options())
    assert shape(spec(options={"WantBig": "1"})) != shape(spec(options={"WantBig": "2"}))


def test_strings_are_quoted_as_classads_have_them() -> None:
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheduler": "x"}, r"batch\.options\.scheduler: HTCondor has no such option"),
        ({"pol": "x"}, "did you mean 'pool'"),
        ({"spool": "yes"}, r"batch\.options\.spool: Expected `bool`"),
        ({"authentication": ["TOKEN"]}, "'TOKEN' is not one of SCITOKENS"),
        ({"held_seconds": -1}, "not below 0"),
        ({"attributes": {"Owner": "1"}}, "not the name of a job attribute that may be set"),
        ({"attributes": {"A": "$(B)"}}, r"batch\.options\.attributes\.A"),
        ({"accounting_group": "a\nb"}, "accounting_group"),
        ({"configuration": {"A B": "1"}}, "not the name of a configuration macro"),
        ({"openid": {"issuer": "http://x", "client_id": "y", "client_secret_file": "/f"}}, "not an address https"),
        ({"openid": {"issuer": "https://x", "client_id": "y"}}, "give client_secret_file, refresh_token_file"),
        ({"openid": {"issuer": "https://x"}}, r"openid: Object missing required field `client_id`"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SiteError, match=words) as raised:
        read(options)
    assert "\n" not in str(raised.value)


SCHEMA = Path(__file__).parents[2] / "docs" / "htcondor.schema.json"


def test_the_published_schema_is_that_of_the_options() -> None:
    command = (
        "python -c 'import json; from flashlink.site.load import schema; "
        "from flashlink.batch.htcondor.options import Options; print(json.dumps(schema(Options), indent=2))' >docs/..."
    )
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(schema(Options))), (
        f"write {SCHEMA.name} anew with: {command}"
    )


def test_options_have_defaults_that_need_no_ce() -> None:
    assert read({}) == Options()
