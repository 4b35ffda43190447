import pytest
from click.testing import CliRunner

from flashlink.cli import flashlink
from flashlink.errors import RequestError
from flashlink.flashsim.chunks import read_chunks
from flashlink.flashsim.files import read, write
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED
from flashlink.flashsim.simulate import SIMULATED


@pytest.fixture
def chunks(tmp_path, toy):
    """Two chunks of generated particles and one of tracks."""
    for number in (0, 1):
        write(tmp_path / f"g{number}.parquet", toy[0](150, first_event=150 * number, seed=number), GENERATED, {})
    write(tmp_path / "r0.parquet", toy[1](read(tmp_path / "g0.parquet", GENERATED)), RECONSTRUCTED, {})
    return tmp_path


def test_order_of_chunks_does_not_matter(chunks):
    one = read_chunks([chunks / "g0.parquet", chunks / "g1.parquet"], GENERATED)
    other = read_chunks([chunks / "g1.parquet", chunks / "g0.parquet"], GENERATED)
    assert all((one[name] == other[name]).all() for name in GENERATED)
    assert (one["event"][[0, -1]] == [0, 299]).all()


def test_a_chunk_given_twice_is_refused(chunks):
    with pytest.raises(RequestError, match="give each chunk once"):
        read_chunks([chunks / "g0.parquet", chunks / "g0.parquet"], GENERATED)


def test_events_out_of_order_are_refused(chunks, toy):
    columns = {name: column[::-1] for name, column in toy[0](5).items()}
    write(chunks / "back.parquet", columns, GENERATED, {})
    with pytest.raises(RequestError, match=r"back.parquet: row \d+: events are not in increasing order"):
        read_chunks([chunks / "back.parquet"], GENERATED)


def test_the_steps_follow_each_other_on_the_command_line(chunks):
    def flash(*words):
        result = CliRunner().invoke(flashlink, [str(word) for word in words])
        assert result.exception is None, result.exception

    tables, record = chunks / "tables.json", chunks / "record.json"
    flash("parameterize", "--generated", chunks / "g0.parquet", "--generated", chunks / "g1.parquet",
          "--reference", chunks / "r0.parquet", "--output", tables, "--record", record)  # fmt: skip
    for number in (0, 1):
        flash(
            "simulate",
            chunks / f"g{number}.parquet",
            "--tables",
            tables,
            "--seed",
            3,
            "--output",
            chunks / f"f{number}.parquet",
        )
    again = chunks / "again.parquet"
    flash("simulate", chunks / "g1.parquet", "--tables", tables, "--seed", 3, "--output", again)
    assert again.read_bytes() == (chunks / "f1.parquet").read_bytes()
    flash("analyse", chunks / "f0.parquet", chunks / "f1.parquet", "--generated", chunks / "g0.parquet", "--generated",
          chunks / "g1.parquet", "--output", chunks / "candidates.parquet")  # fmt: skip
    assert set(read(chunks / "f0.parquet", SIMULATED)["event"]) <= set(range(150))
    assert record.exists()


def test_bad_input_leaves_no_output(chunks):
    (chunks / "broken.json").write_text("{")
    for words in (
        ["simulate", "g0.parquet", "--tables", "broken.json", "--seed", "1"],
        ["simulate", "r0.parquet", "--tables", "broken.json", "--seed", "1"],
        ["parameterize", "--generated", "r0.parquet", "--reference", "r0.parquet"],
        ["parameterize", "--generated", "g1.parquet", "--reference", "r0.parquet"],
        ["analyse", "g0.parquet"],
        ["analyse", "broken.json"],
    ):
        words = [str(chunks / word) if "." in word else word for word in words]
        result = CliRunner().invoke(flashlink, [*words, "--output", str(chunks / "output")])
        assert isinstance(result.exception, RequestError), words
        assert "\n" not in str(result.exception)
        assert not (chunks / "output").exists()
