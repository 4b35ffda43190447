import json

import numpy as np
import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.simulate import simulate
from flashlink.flashsim.tables import FORMAT, read, write


@pytest.fixture(scope="module")
def content(tmp_path_factory, trained):
    path = tmp_path_factory.mktemp("tables") / "tables.json"
    write(path, trained[2])
    return path.read_bytes()


@pytest.fixture
def written(tmp_path, content):
    path = tmp_path / "tables.json"
    path.write_bytes(content)
    return path


def test_what_is_read_is_what_was_written(written, trained, held_out):
    few = {name: column[:2000] for name, column in held_out[0].items()}
    before, after = simulate(few, trained[2], 1), simulate(few, read(written), 1)
    assert all((before[name] == after[name]).all() for name in before)


def test_same_samples_give_the_same_bytes(tmp_path, written, trained):
    write(tmp_path / "again.json", parameterize(trained[0], trained[1]))
    assert (tmp_path / "again.json").read_bytes() == written.read_bytes()


def test_it_is_small_and_readable_json(written):
    assert written.stat().st_size < 10e6
    document = json.loads(written.read_text())["tables"]
    assert document["grid"]["log_p"]["name"] == "log10(p/MeV)"
    assert document["training"]["events"] == 3000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "complete file of tables"),
        (lambda text: text.replace('"events":3000', '"events":3001', 1), "which it was written with"),
        (lambda text: "", "complete file of tables"),
        (lambda text: '{"digest": "", "tables": {}}', "which it was written with"),
        (lambda text: "[1]", "complete file of tables"),
    ],
)
def test_damaged_files_are_refused_in_one_line(written, damage, message):
    written.write_text(damage(written.read_text()))
    with pytest.raises(RequestError, match=message) as caught:
        read(written)
    assert "\n" not in str(caught.value)
    assert str(written) in str(caught.value)


def test_another_format_is_refused(written):
    import hashlib

    body = written.read_text().split('"tables":', 1)[1].strip()[:-1].replace(f'"format":{FORMAT}', '"format":99', 1)
    digest = hashlib.sha256(body.encode()).hexdigest()
    written.write_text(f'{{"digest":"{digest}","tables":{body}}}')
    with pytest.raises(RequestError, match=f"format: '99' is not {FORMAT}"):
        read(written)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(RequestError, match=r"absent.json.*flashlink parameterize"):
        read(tmp_path / "absent.json")


def test_training_samples_have_to_belong_together(trained):
    generated, reference, _ = trained
    other = dict(reference) | {"particle": reference["particle"] + 1000}
    with pytest.raises(RequestError, match="no stable charged particle"):
        parameterize(generated, other)
    other = dict(reference) | {"true_pdg": -reference["true_pdg"]}
    with pytest.raises(RequestError, match="has true_pdg"):
        parameterize(generated, other)
    few = {name: column[:500] for name, column in reference.items()}
    with pytest.raises(RequestError, match="more events"):
        parameterize(generated, few)
    with pytest.raises(RequestError, match="none of its events is in the generated sample"):
        parameterize(generated, dict(reference) | {"event": reference["event"] + 10**6})
    with pytest.raises(RequestError, match=r"column qop, .*: 1000.0 is not about 1; give qop in 1/MeV"):
        parameterize(generated, dict(reference) | {"qop": reference["qop"] * 1000})


def test_events_that_one_sample_alone_has_are_left_out(trained):
    generated, reference, _ = trained
    early = {name: column[generated["event"] < 1000] for name, column in generated.items()}
    late = {name: column[reference["event"] >= 500] for name, column in reference.items()}
    assert parameterize(early, late).training.events == 500


def test_part_of_the_generated_events_may_have_a_reference(trained):
    generated, reference, _ = trained
    part = {name: column[reference["event"] < 1000] for name, column in reference.items()}
    tables = parameterize(generated, part)
    assert tables.training.events == 1000
    shares = [table.efficiency.cumulative[2, 0].mean(axis=(0, 1)) for table in (tables, trained[2])]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    assert np.isfinite(shares).all()
