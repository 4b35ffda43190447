"""HepMC files as generated samples: two collisions in an event, chains, what is cut short."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pyhepmc
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.files import metadata, read
from flashlink.flashsim.hepmc import is_hepmc, read_hepmc
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.samples import GENERATED

#: Real files of an LHCb generator, where they stand beside the checkout.
REAL = [found for above in Path(__file__).parents for found in sorted((above / "shared" / "data").glob("*.mc2"))]


def whole(path, signal=0, first_event=0, **options):
    """All pieces of a file together."""
    pieces = list(read_hepmc(path, signal, first_event, **options))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in GENERATED}


def momentum(pdg_mass, px, py, pz):
    return px, py, pz, float(np.sqrt(pdg_mass**2 + px**2 + py**2 + pz**2))


def event(number, *, broken=False):
    """Two collisions in GeV and cm: a D0 -> K- pi+ and a pion in one, a muon and what cannot be seen in the other."""
    made = pyhepmc.GenEvent(pyhepmc.Units.MomentumUnit.GEV, pyhepmc.Units.LengthUnit.CM)
    made.event_number = number
    collisions = []
    for z in (1.0, -2.0):
        collision = pyhepmc.GenVertex((0.001, 0.002, z, 0.0))
        for sign in (1, -1):
            collision.add_particle_in(pyhepmc.GenParticle(momentum(0.938, 0, 0, sign * 6500.0), 2212, 4))
        made.add_vertex(collision)
        collisions.append(collision)

    def add(vertex, pdg, status, p):
        particle = pyhepmc.GenParticle(p, pdg, status)
        vertex.add_particle_out(particle)
        return particle

    d0 = add(collisions[0], 421, 2, momentum(1.865, 1.0, 0.5, 20.0))
    add(collisions[0], 211, 1, (float("nan"), 0.3, 8.0, 8.0) if broken else momentum(0.1396, 0.4, 0.3, 8.0))
    decay = pyhepmc.GenVertex((0.02, 0.01, 1.4, 0.0))
    made.add_vertex(decay)
    decay.add_particle_in(d0)
    add(decay, -321, 999, momentum(0.4937, 0.7, 0.1, 12.0))
    add(decay, 211, 1, momentum(0.1396, 0.3, 0.4, 8.0))
    add(collisions[1], 13, 1, momentum(0.10566, 0.8, -0.9, 30.0))
    add(collisions[1], 211, 1, momentum(0.1396, 0.1, 0.0, -5.0))
    add(collisions[1], 111, 3, momentum(0.135, 0.1, 0.0, 5.0))
    return made


def written(path, *events, form="hepmc3"):
    with pyhepmc.open(str(path), "w", format=form) as file:
        for one in events:
            file.write(one)
    return path


@pytest.mark.parametrize("form", ["hepmc2", "hepmc3"])
def test_each_collision_is_an_event_and_the_chain_is_kept(tmp_path, form):
    columns = whole(written(tmp_path / "e.hepmc", event(7), event(8), form=form), signal=421, first_event=100)
    assert {name: values.dtype.name for name, values in columns.items()} == GENERATED
    first = {name: values[columns["event"] == 100] for name, values in columns.items()}
    assert first["pdg"].tolist() == [421, -321, 211, 211]
    assert first["mother"].tolist() == [-1, 0, 0, -1]
    assert first["signal"].tolist() == [True, True, True, False]
    assert first["stable"].tolist() == [False, True, True, True]
    assert first["charge"].tolist() == [0, -1, 1, 1]
    assert first["z"] == pytest.approx([10, 14, 14, 10])
    assert first["pv_z"] == pytest.approx([10] * 4)
    assert first["pz"] == pytest.approx([20e3, 12e3, 8e3, 8e3])
    second = {name: values[columns["event"] == 101] for name, values in columns.items()}
    assert (second["pdg"].tolist(), second["pv_z"].tolist()) == ([13], [pytest.approx(-20)])
    assert set(columns["multiplicity"]) == {4}, "both collisions cross the detector together"
    assert columns["event"].tolist() == [100] * 4 + [101] + [102] * 4 + [103]


def test_compressed_files_and_the_command(tmp_path):
    plain, packed = written(tmp_path / "e.hepmc", event(1)), tmp_path / "e.hepmc.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    output = tmp_path / "g.parquet"
    assert main(["convert", str(packed), str(plain), "--signal", "421", "--output", str(output)]) == 0
    columns = read(output, GENERATED)
    assert np.unique(columns["event"]).tolist() == [0, 1, 2, 3]
    assert len(metadata(output)["hepmc"]) == 2
    tracks, _ = reconstruct(columns, seed=1)
    assert set(tracks["event"]) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "cut short"),
        (lambda text: text.replace(b"V -", b"Q -"), "event 1 of 1 cannot be read"),
        (lambda text: text.split(b"E ")[0] + text[text.index(b"HepMC::Asciiv3-END") :], "no event"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, words):
    path = written(tmp_path / "e.hepmc", event(1))
    path.write_bytes(change(path.read_bytes()))
    assert is_hepmc(path)
    with pytest.raises(RequestError, match=words) as error:
        whole(path)
    assert "\n" not in str(error.value)


def test_a_number_that_is_none_names_event_and_column(tmp_path):
    path = written(tmp_path / "e.hepmc", event(1), event(2, broken=True))
    with pytest.raises(RequestError, match="column px, event 2: nan is not a finite number"):
        whole(path)


def test_pieces_of_a_file_make_the_same_sample(tmp_path):
    path = written(tmp_path / "e.hepmc", *(event(number) for number in range(7)))
    assert len(list(read_hepmc(path, 421, rows=10))) > 3
    together, apart = whole(path, 421, 5), whole(path, 421, 5, rows=10)
    assert all((together[name] == apart[name]).all() for name in GENERATED)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for events in (20, 400):
        path = written(tmp_path / f"{events}.hepmc", *(event(number) for number in range(events)))
        tracemalloc.start()
        assert sum(len(piece["event"]) for piece in read_hepmc(path, 421, rows=100)) == 5 * events
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_momenta_in_another_unit_than_the_file_says_are_told(tmp_path):
    path = written(tmp_path / "e.hepmc", event(1))
    path.write_bytes(path.read_bytes().replace(b"U GEV CM", b"U MEV CM"))
    with pytest.raises(
        RequestError, match=r"column energy, event 1: .* of particle 13 with its momentum and mass of 105.7 MeV"
    ):
        whole(path)


@pytest.mark.parametrize("first", [-1, 2**62])
def test_event_numbers_that_cannot_be_are_told(tmp_path, first):
    with pytest.raises(RequestError, match=f"first event: {first} is not from 0 to 1099511627775"):
        list(read_hepmc(written(tmp_path / "e.hepmc", event(1)), first_event=first))


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "e.gz").write_bytes(b"text")
    with pytest.raises(RequestError, match="cannot be decompressed"):
        is_hepmc(tmp_path / "e.gz")


@pytest.mark.skipif(not REAL, reason="no HepMC files of LHCb beside the checkout")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_files_of_an_lhcb_generator(path):
    columns = whole(path, signal=413)
    signal = {name: values[columns["signal"]] for name, values in columns.items()}
    assert np.abs(signal["pdg"][:3]).tolist() == [413, 421, 211]
    assert signal["mother"][:3].tolist() == [-1, 0, 0]
    total = {name: signal[name][1:3].sum() for name in ("px", "py", "pz", "energy")}
    mass = np.sqrt(total["energy"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2)
    assert mass == pytest.approx(2010.3, abs=1), "D*+ -> D0 pi+"
    assert 10 < len(columns["event"]) < 500
    assert (columns["pz"][~columns["signal"]] > 0).all()
