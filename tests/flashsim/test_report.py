import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from flashlink.cli import flashlink
from flashlink.errors import RequestError
from flashlink.flashsim.analyse import CANDIDATES, analyse
from flashlink.flashsim.files import read, write
from flashlink.flashsim.learned import models
from flashlink.flashsim.records import Record
from flashlink.flashsim.report import comparison
from flashlink.flashsim.report.steps import speed, steps
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED
from flashlink.flashsim.simulate import SIMULATED, simulate
from flashlink.flashsim.tables import write as write_tables

HOSTILE = '"><script>alert(1)</script>'


class Page(HTMLParser):
    """Collects what a page refers to, and that its elements close."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.references, self.identifiers = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data"):
                self.references.append(value)
            if name == "id":
                self.identifiers.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "link", "img", "br"):
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, trained, held_out):
    """Files of the toy, with candidates, tables and records; the reference is of the first half of the events."""
    folder = tmp_path_factory.mktemp("report")
    generated, reference = held_out
    half = {name: column[reference["event"] < 11_500] for name, column in reference.items()}
    flash = simulate(generated, trained[2], 3)
    noted = {"signal": 521, "settings": ["Beams:eCM = 13000.", "HardQCD:hardbbbar = on"]}
    write(folder / "generated.parquet", generated, GENERATED, noted)
    write(folder / "reference.parquet", half, RECONSTRUCTED, {})
    write(folder / "flash.parquet", flash, SIMULATED, {})
    for name, tracks in (("flash", flash), ("reference", half)):
        write(folder / f"{name}-candidates.parquet", analyse(tracks), CANDIDATES, {})
    write_tables(folder / "tables.json", trained[2])
    for name, numbers in (
        ("generate", {}),
        ("reference", {"detector_seconds": 1.0}),
        ("simulate", {"detector_seconds": 0.5}),
    ):
        record = {
            "step": name, "events": 3000, "particles": 100_000, "wall_seconds": 2.0, "cpu_seconds": 2.0,
            "site": HOSTILE, "pod": f"{name}-1", "numbers": numbers,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def run(folder, output, records=("generate", "reference", "simulate"), **other):
    files = {
        "generated": "generated.parquet", "flash": "flash.parquet", "reference": "reference.parquet",
        "flash-candidates": "flash-candidates.parquet", "reference-candidates": "reference-candidates.parquet",
        "parameterizations": "tables.json",
    } | other  # fmt: skip
    arguments = [word for name, file in files.items() if file for word in (f"--{name}", str(folder / file))]
    for name in records:
        arguments += ["--records", str(folder / f"{name}.json")]
    return CliRunner().invoke(flashlink, ["report", *arguments, "--output", str(output)])


@pytest.fixture(scope="module")
def written(inputs, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "report.html"
    result = run(inputs, output)
    assert result.exception is None
    return output


def test_the_page_is_whole_and_needs_nothing_else(written):
    page = Page()
    page.feed(written.read_text())
    assert page.open == []
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.identifiers)
    assert len(page.identifiers) == len(set(page.identifiers))
    assert page.tags.count("svg") >= 13
    outside = re.findall(r"(?:https?:)?//[\w.]+", written.read_text())
    assert set(outside) <= {"http://www.w3.org"}, "only the names of XML name spaces"
    assert "url(http" not in written.read_text()


def test_text_of_records_cannot_become_markup(written):
    page = Page()
    page.feed(written.read_text())
    assert "script" not in page.tags
    assert "&lt;script&gt;" in written.read_text()


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(inputs, written, tmp_path):
    assert run(inputs, tmp_path / "again.html").exception is None
    assert (tmp_path / "again.html").read_bytes() == written.read_bytes()


def test_the_summary_has_the_headline_and_the_numbers(written):
    summary = json.loads((written.parent / "summary.json").read_text())
    assert all(set(line) == {"label", "value"} for line in summary["headline"])
    assert summary["headline"][0] == {
        "label": "events",
        "value": "3,000 (1,500 of them in the reference detector too, and compared)",
    }
    assert summary["numbers"]["speed"]["detector"] == pytest.approx(200_000)
    assert {peak["decay"] for peak in summary["numbers"]["peaks"]} == {"jpsi", "b", "b-free"}


@pytest.mark.parametrize(
    "name", ["generated", "flash", "reference", "flash-candidates", "reference-candidates", "parameterizations"]
)
def test_a_wrong_file_is_one_line_and_leaves_nothing(inputs, tmp_path, name):
    (inputs / "wrong").write_text("not a sample")
    result = run(inputs, tmp_path / "report.html", **{name: "wrong"})
    assert isinstance(result.exception, RequestError)
    assert str(inputs / "wrong") in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_page_tells_what_it_takes_to_make_the_samples_again(inputs, written):
    text = written.read_text()
    digest = hashlib.sha256((inputs / "tables.json").read_bytes()).hexdigest()
    assert f"{digest}  parameterizations" in text
    assert "flashlink run --events 3000 --seed" in text
    assert "has not seen these events" in text
    assert f"numpy {np.__version__}" in text
    assert "<title>B⁺ → J/ψ K⁺ at 13 TeV, 3,000 events" in text
    assert "J/ψ(μ⁺μ⁻) K⁺ or its conjugate" in text


def test_samples_that_were_made_by_hand_are_made_again_by_their_own_commands(inputs, tmp_path, held_out):
    made = "flashlink generate --events 3000 --seed 5 --signal 531"
    write(inputs / "by-hand.parquet", held_out[0], GENERATED, {"command": made, "seed": 5})
    result = run(inputs, tmp_path / "report.html", records=(), generated="by-hand.parquet")
    assert result.exception is None
    text = (tmp_path / "report.html").read_text()
    assert f"<code>{made}</code>" in text
    assert "flashlink run" not in text
    assert "<title>3,000 events: flash simulation" in text
    assert "J/ψ(μ⁺μ⁻) K⁺ or its conjugate" not in text


def test_what_a_file_from_elsewhere_notes_ends_no_report_with_a_traceback(inputs, tmp_path, held_out):
    write(inputs / "odd.parquet", held_out[0], GENERATED, {"signal": 521, "settings": 13, "seed": "x"})
    assert run(inputs, tmp_path / "report.html", records=(), generated="odd.parquet").exception is None
    flash = read(inputs / "flash.parquet", SIMULATED)
    write(inputs / "odd-flash.parquet", flash, SIMULATED, {"parameterizations": 5})
    result = run(inputs, tmp_path / "other.html", flash="odd-flash.parquet")
    assert isinstance(result.exception, RequestError)
    assert "(sha256 5…)" in str(result.exception)


def test_tables_that_have_seen_the_events_are_told(inputs, tmp_path, trained):
    tables = trained[2]
    seen = hashlib.sha256((inputs / "generated.parquet").read_bytes()).hexdigest()
    write_tables(inputs / "seen.json", replace(tables, training=replace(tables.training, generated=(seen,))))
    result = run(inputs, tmp_path / "report.html", parameterizations="seen.json")
    assert result.exception is None
    text = (tmp_path / "report.html").read_text()
    assert "has learned from 1 of" in text
    assert "has not seen these events" not in text
    assert json.loads((tmp_path / "summary.json").read_text())["numbers"]["trained_on"] == 1


def test_the_page_names_the_models_that_come_with_flashlink(inputs, tmp_path):
    assert run(inputs, tmp_path / "report.html", parameterizations="").exception is None
    digest = hashlib.sha256((models.shipped() / "manifest.json").read_bytes()).hexdigest()
    assert f"{digest}  parameterizations" in (tmp_path / "report.html").read_text()


def test_parameterizations_that_the_flash_sample_was_not_made_with_are_refused(inputs, tmp_path, trained, held_out):
    flash = simulate(held_out[0], trained[2], 3)
    write(inputs / "others.parquet", flash, SIMULATED, {"parameterizations": "0123456789abcdef"})
    result = run(inputs, tmp_path / "report.html", flash="others.parquet")
    assert "others.parquet was simulated with (sha256 0123456789ab…)" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_speed_that_is_headlined_compares_like_with_like(written):
    summary = json.loads((written.parent / "summary.json").read_text())
    assert summary["headline"][-1] == {
        "label": "speed of the flash simulation",
        "value": "2 times the reference (200,000 against 100,000 particles/s, without start-up and files)",
    }


def test_only_so_many_events_are_compared_particle_by_particle(inputs, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_MATCHED", 100)
    samples = comparison.Samples(
        [inputs / "generated.parquet"], [inputs / "flash.parquet"], [inputs / "reference.parquet"],
        inputs / "flash-candidates.parquet", inputs / "reference-candidates.parquet",
    )  # fmt: skip
    found = comparison.compare(samples)
    assert (found.generated, found.events, found.matched) == (3000, 1500, 100)
    assert len(np.unique(found.particles["event"])) == 100
    assert len(found.flash.candidates["event"]) > 0


def test_samples_of_different_productions_are_refused(inputs, tmp_path, held_out):
    other = held_out[1] | {"event": held_out[1]["event"] + 10**6}
    write(inputs / "other.parquet", other, RECONSTRUCTED, {})
    result = run(inputs, tmp_path / "report.html", reference="other.parquet")
    assert "no event in common" in str(result.exception)


def test_tracks_of_other_particles_are_refused(inputs, tmp_path, held_out):
    other = held_out[1] | {"true_pdg": -held_out[1]["true_pdg"]}
    write(inputs / "other.parquet", other, RECONSTRUCTED, {})
    result = run(inputs, tmp_path / "report.html", reference="other.parquet")
    assert "reference sample: event" in str(result.exception)
    assert "has true_pdg" in str(result.exception)


def test_steps_add_up():
    alone = {"detector_seconds": 1.0}
    records = [
        Record(step="simulate", events=10, particles=400, wall_seconds=2, cpu_seconds=2,
               site="b", pod="1", numbers=alone),
        Record(step="simulate", events=30, particles=600, wall_seconds=3, cpu_seconds=3,
               site="a", pod="2", numbers=alone),
        Record(step="generate", events=20, particles=500, wall_seconds=40, cpu_seconds=20),
        Record(step="reference", events=20, particles=500, wall_seconds=20, cpu_seconds=10,
               numbers={"detector_seconds": 5}),
        Record(step="other", events=1, wall_seconds=0),
    ]  # fmt: skip
    table = steps(records)
    assert [step.name for step in table] == ["generate", "reference", "simulate", "other"]
    simulate_step = table[2]
    assert (simulate_step.pods, simulate_step.sites, simulate_step.events) == (2, ("a", "b"), 40)
    assert simulate_step.events_per_second == pytest.approx(8)
    assert table[3].events_per_second == 0
    found = speed(records)
    assert found.detector == pytest.approx(500)
    assert found.detector_reference == pytest.approx(100)
    assert found.over_reference == pytest.approx(200 / 50)
    assert found.over_generator == pytest.approx(8)
    assert found.end_to_end == pytest.approx(1 / (1 + 1 / 8))
    assert speed([]).detector is None


def test_efficiencies_have_binomial_errors():
    from flashlink.flashsim.report.statistics import efficiency, resolution

    values = np.repeat([0.5, 1.5, 2.5], [100, 10, 0])
    passed = np.concatenate([np.arange(100) < 80, np.zeros(10, bool)])
    points = efficiency(values, passed, np.array([0.0, 1, 2, 3]))
    assert points.value[:2] == pytest.approx([0.8, 0])
    assert points.low[0] == pytest.approx(0.04, abs=0.01)
    assert points.high[1] > 0.1
    assert points.low[1] == 0
    assert np.isnan(points.value[2])
    random = np.random.default_rng(1)
    widths = resolution(np.full(10_000, 0.5), random.normal(0, 3, 10_000), np.array([0.0, 1, 2]))
    assert widths.value[0] == pytest.approx(3, rel=0.05)
    assert np.isnan(widths.value[1])
