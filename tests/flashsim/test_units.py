"""Lengths and momenta in another unit are told by physics, and right ones of all kinds pass."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyhepmc
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from particle import Particle

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim import files, limits
from flashlink.flashsim.flights import LIFETIMES, Flights, of_chains, of_vertices
from flashlink.flashsim.generate import generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.hepmc import read_hepmc
from flashlink.flashsim.kinematics import pdg_mass
from flashlink.flashsim.mapping import LEARNED
from flashlink.flashsim.oversampling import copy_of
from flashlink.flashsim.parameterize import match
from flashlink.flashsim.photons import matched_clusters, photons_of
from flashlink.flashsim.pythia import Process
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.photons import reconstruct_photons
from flashlink.flashsim.samples import GENERATED
from flashlink.flashsim.units import Lengths, watched

LENGTHS = ("x", "y", "z", "pv_x", "pv_y", "pv_z")

#: A length in mm, given in metres, centimetres and micrometres, and one in mm that is said to be in centimetres.
FACTORS = (1e-3, 0.1, 1e3, 10.0)

REAL = [found for above in Path(__file__).parents for found in sorted((above / "shared" / "data").glob("*.mc2"))]


@pytest.fixture(scope="module")
def b():
    return generate(60, 0, seed=5).columns


@pytest.fixture(scope="module")
def inelastic():
    return generate(200, 0, 5, Process(("Beams:eCM = 13000.", "SoftQCD:inelastic = on"))).columns


def scaled(columns, factor, names=LENGTHS):
    return columns | {name: columns[name] * factor for name in names}


def without_mothers(columns):
    kept = columns["stable"]
    return {name: values[kept] for name, values in columns.items()} | {"mother": np.full(kept.sum(), -1)}


def refused(*pieces):
    """The message, once all pieces are seen."""
    with pytest.raises(RequestError) as error:
        list(watched(pieces, "g.parquet"))
    assert "\n" not in str(error.value)
    return str(error.value)


def passes(*pieces):
    return len(list(watched(pieces, "g.parquet"))) == len(pieces)


def point():
    return fire(3000, 211, (2e3, 1e5), (2, 5), seed=1, spot=(0, 0, 0))


@pytest.mark.parametrize("factor", FACTORS)
def test_decays_tell_the_unit_whatever_the_sample(b, inelastic, factor):
    for sample in (b, inelastic, without_mothers(b), without_mothers(inelastic)):
        assert passes(sample)
        message = refused(scaled(sample, factor))
        assert re.match(r"g.parquet: column x, event \d+: \S+ is not in mm: \d+ decays flew \S+ times", message)
        assert message.endswith("give lengths in mm, or say their unit in a mapping")
    unit = {1e-3: "lengths in m do", 0.1: "lengths in cm do", 1e3: "lengths in um do", 10: "lifetimes say;"}[factor]
    assert unit in refused(scaled(inelastic, factor))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("axis", "xyz")
def test_one_column_in_another_unit_is_named(b, inelastic, axis, factor):
    for sample in (b, inelastic):
        both = refused(scaled(sample, factor, (axis, f"pv_{axis}")))
        assert f"column {axis}, event " in both
        assert "decays flew" in both
        for name in (axis, f"pv_{axis}"):
            message = refused(scaled(sample, factor, (name,)))
            assert f"column {axis}, event 0: " in message
            assert f"not in the unit of pv_{axis}" in message


@settings(deadline=None, max_examples=40)
@given(st.floats(-6, 4))
def test_only_factors_near_one_pass(b, power):
    sample = scaled(b, 10**power)
    if abs(power) < 0.5:
        assert passes(sample)
    elif abs(power) > 1:
        assert "decays flew" in refused(sample)


def test_event_and_value_are_those_of_a_row(b):
    message = refused(scaled(b, 1e-3))
    event, value = re.search(r"event (\d+): (\S+) is", message).groups()
    assert float(value) in b["x"][b["event"] == int(event)] * 1e-3


def test_right_samples_pass(b, inelastic, toy):
    narrow = fire(3000, 211, (2e3, 1e5), (2, 5), seed=1, spot=(0.03, 0.03, 1.0))
    fixed_target = scaled(b, 1) | {"z": b["z"] - b["pv_z"] - 300, "pv_z": np.full(len(b["z"]), -300.0)}
    at_once = b | {axis: b[f"pv_{axis}"] for axis in "xyz"}
    no_vertex = b | dict.fromkeys(("pv_x", "pv_y", "pv_z"), np.zeros(len(b["x"])))
    few = {name: values[b["event"] < 3] for name, values in b.items()}
    single = {name: values.astype("float32").astype("float64") if values.dtype.kind == "f" else values
              for name, values in b.items()}  # fmt: skip
    signal = {name: values[b["signal"]] for name, values in b.items()}
    guns = [fire(3000, pdg, (2e3, 1e5), (2, 5), seed=1) for pdg in (13, 22)]
    for sample in (point(), narrow, fixed_target, at_once, no_vertex, few, single, signal, *guns, toy[0](200)):
        assert passes(sample)
        assert passes(without_mothers(sample))
    assert passes({name: values[:0] for name, values in b.items()})


def test_flights_that_come_again_count_once(b):
    few = {name: values[b["event"] < 3] for name, values in b.items()}
    assert passes(*(scaled(copy_of(few, number), 1e-3) for number in range(10)))
    assert "decays flew" in refused(*(scaled(copy_of(b, number), 1e-3) for number in range(2)))


def test_selections_of_long_or_short_lives_pass(b):
    flights = of_chains(b)
    life = flights.ratio[:, 2]
    for kept in (life > 0.3, life < 1):
        events = flights.event[kept]
        assert len(events) >= 20
        chosen = np.isin(b["event"], events)
        assert passes({name: values[chosen] for name, values in b.items()})


def test_right_lifetimes_are_not_refused_by_chance():
    random = np.random.default_rng(1)
    for _ in range(1000):
        lengths = Lengths("g.parquet")
        ratio = random.exponential(size=(30, 1)) * np.ones(3)
        lengths.decays(Flights(np.arange(30), ratio, ratio, np.ones(30, dtype=bool)))
        lengths.decays(Flights(np.arange(8), ratio[:8], ratio[:8], np.ones(8, dtype=bool)))
        lengths.end()


def test_few_decays_of_each_piece_add_up_and_few_in_all_tell_metres(b):
    pieces = [{name: values[b["event"] == event] for name, values in b.items()} for event in range(60)]
    assert passes(*pieces)
    assert "lengths in cm do" in refused(*(scaled(piece, 0.1) for piece in pieces))
    assert passes(*(scaled(piece, 0.1) for piece in pieces[:12]))
    assert "decays flew 0.00" in refused(*(scaled(piece, 1e-3) for piece in pieces[:12]))


def test_where_nothing_decays_collisions_tell_metres_and_micrometres(toy):
    for sample in (toy[0](100), fire(5000, 13, (2e3, 1e5), (2, 5), seed=1)):
        for factor in (1e-3, 1e3):
            said = r"g.parquet: column pv_z, event \d+: \S+ is not in mm: collisions spread"
            assert re.match(said, refused(scaled(sample, factor)))
    assert passes(scaled(point(), 1e-3)), "of what was made at one point nobody knows"


def test_lifetimes_and_masses_are_those_of_the_tables():
    for number, (mass, length) in LIFETIMES.items():
        known = Particle.from_pdgid(number)
        assert known.mass == pytest.approx(mass, abs=1)
        assert known.ctau == pytest.approx(length, rel=0.05)
    for number, mass in limits.MASSES.items():
        assert pdg_mass(number) == pytest.approx(mass, abs=0.6)


def test_products_that_are_kept_tell_what_decayed(b):
    chains, places = of_chains(b), of_vertices(without_mothers(b))
    both = np.isin(chains.ratio[:, 2].round(6), places.ratio[:, 2].round(6))
    assert len(chains) == 60
    assert both.sum() > 50, "those B whose kaon and muons are all kept are found by their mass"


@pytest.mark.parametrize("pdg", [11, 22, 211, 2212])
@pytest.mark.parametrize("names", [("energy",), ("px", "py", "pz")])
def test_energies_in_another_unit_than_momenta_are_told(pdg, names):
    sample = fire(300, pdg, (2e3, 1e5), (2, 5), seed=1)
    limits.check("g", sample)
    for factor in (1e-3, 1e3):
        with pytest.raises(RequestError, match=rf"g: column energy, event 0: .* particle {pdg} with its momentum"):
            limits.check("g", scaled(sample, factor, names))


def test_momenta_of_what_decays_are_told(b):
    decayed = ~b["stable"] & (np.abs(b["pdg"]) == 521)
    energy = np.where(decayed, b["energy"] / 1e3, b["energy"])
    with pytest.raises(RequestError, match=r"column energy, event 0: .* particle 521"):
        limits.check("g", b | {"energy": energy})


# Where samples come in.

MAPPING = "[generated]\n[generated.columns]\n"


def from_elsewhere(folder, b, factor, form):
    sample = {f"their_{name}": values for name, values in scaled(b, factor).items()}
    path = folder / f"theirs.{form}"
    if form == "parquet":
        pq.write_table(pa.table(sample), path)
    else:
        with uproot.recreate(path) as file:
            file["tree"] = sample
    return path


@pytest.mark.parametrize("form", ["parquet", "root"])
@pytest.mark.parametrize(("unit", "factor"), [("m", 1e-3), ("cm", 0.1), ("um", 1e3)])
def test_units_of_a_mapping(tmp_path, monkeypatch, capsys, b, form, unit, factor):
    monkeypatch.chdir(tmp_path)
    path = from_elsewhere(tmp_path, b, factor, form)
    names = {name: f'{name} = "their_{name}"' for name in GENERATED}
    tree = '[generated]\ntree = "tree"\n[generated.columns]\n'
    (tmp_path / "mapping.toml").write_text(tree + "\n".join(names.values()))
    command = ["convert", path.name, "--mapping", "mapping.toml", "--output", "g.parquet"]
    assert main(command) == 1
    message = capsys.readouterr().err
    assert re.match(r"flashlink: mapping.toml: generated: column x, event \d+: ", message)
    assert not (tmp_path / "g.parquet").exists()
    names |= {name: f'{name} = {{column = "their_{name}", unit = "{unit}"}}' for name in LENGTHS}
    (tmp_path / "mapping.toml").write_text(tree + "\n".join(names.values()))
    assert main(command) == 0
    for name in LENGTHS:
        assert files.read(tmp_path / "g.parquet", GENERATED)[name] == pytest.approx(b[name], abs=1e-9)


def test_samples_of_our_columns_that_none_of_our_steps_made(tmp_path, monkeypatch, capsys, b):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(scaled(b, 0.1)), "g.parquet")
    for step in ("simulate", "reference", "photons"):
        assert main([step, "g.parquet", "--seed", "1", "--output", "o.parquet"]) == 1
        assert re.match(r"flashlink: g.parquet: column x, event \d+: .*lengths in cm do", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["g.parquet"]
    # Joined to others it is still none of ours.
    files.write(tmp_path / "ours.parquet", b, GENERATED, {"kind": "generated", "seed": 5})
    pq.write_table(pq.read_table("ours.parquet").replace_schema_metadata(None), "g.parquet")
    files.write(tmp_path / "ours.parquet", copy_of(b, 1), GENERATED, {"kind": "generated", "seed": 5})
    files.join([tmp_path / "g.parquet", tmp_path / "ours.parquet"], tmp_path / "j.parquet")
    table = pq.read_table("j.parquet")
    for name in LENGTHS:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(table.column(name).to_numpy() * 1e3))
    pq.write_table(table, "j.parquet")
    with pytest.raises(RequestError, match="decays flew"):
        files.read(tmp_path / "j.parquet", GENERATED)


def decays_in(path, unit, factor, events=40):
    """A HepMC file of D0 -> K- pi+ with lives by chance; lengths in mm times the factor, said to be in `unit`."""
    random = np.random.default_rng(3)
    mass, length = LIFETIMES[421]
    with pyhepmc.open(str(path), "w") as file:
        for number in range(events):
            made = pyhepmc.GenEvent(pyhepmc.Units.MomentumUnit.MEV, pyhepmc.Units.LengthUnit.MM)
            made.event_number = number
            p = np.array([*random.normal(0, 1500, 2), random.uniform(5e3, 1e5)])
            start = random.normal(0, [0.03, 0.03, 40])
            end = start + p / mass * length * random.exponential()
            collision, decay = (pyhepmc.GenVertex((*(at * factor), 0.0)) for at in (start, end))
            collision.add_particle_in(pyhepmc.GenParticle((0, 0, 6.5e6, 6.5e6), 2212, 4))
            d0 = pyhepmc.GenParticle((*p, float(np.sqrt(p @ p + mass**2))), 421, 2)
            collision.add_particle_out(d0)
            decay.add_particle_in(d0)
            for pdg, share in ((-321, 0.6), (211, 0.4)):
                q = p * share
                energy = float(np.sqrt(q @ q + pdg_mass(abs(pdg)) ** 2))
                decay.add_particle_out(pyhepmc.GenParticle((*q, energy), pdg, 1))
            made.add_vertex(collision)
            made.add_vertex(decay)
            file.write(made)
    path.write_text(path.read_text().replace("U MEV MM", f"U MEV {unit}"))
    return path


@pytest.mark.parametrize("signal", [0, 421])
def test_lengths_in_another_unit_than_a_hepmc_file_says(tmp_path, signal):
    assert list(read_hepmc(decays_in(tmp_path / "right.hepmc", "MM", 1), signal))
    assert list(read_hepmc(decays_in(tmp_path / "too.hepmc", "CM", 0.1), signal))
    for unit, factor in (("MM", 0.1), ("MM", 1e-3), ("MM", 1e3), ("CM", 1)):
        path = decays_in(tmp_path / "e.hepmc", unit, factor)
        with pytest.raises(RequestError, match=r"e.hepmc: column x, event \d+: .* decays flew"):
            list(read_hepmc(path, signal))


@pytest.mark.skipif(not REAL, reason="no HepMC files of LHCb beside the checkout")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_an_lhcb_generator_in_metres(tmp_path, path):
    with pyhepmc.open(str(path)) as file, pyhepmc.open(str(tmp_path / "m.hepmc"), "w") as out:
        for event in file:
            for vertex in event.vertices:
                vertex.position = vertex.position * 1e-3
            out.write(event)
    with pytest.raises(RequestError, match=r"m.hepmc: column x, event 1: .* lengths in m do"):
        list(read_hepmc(tmp_path / "m.hepmc"))


TRACKS = [
    ("x", 1e-3, r"column x, event \d+: "),
    ("y", 0.1, r"column y, event \d+: "),
    ("z", 1e-3, r"column z, event \d+: "),
    ("z", 10, r"column z, event \d+: "),
    ("pv_x", 1e3, r"column pv_x, event \d+: "),
    ("pv_z", 0.1, r"column pv_z, event \d+: "),
    ("qop", 1e3, r"column qop"),
    ("tx", 1e3, r"column tx, event \d+: "),
    ("cov_x_x", 1e-6, r"column cov_x_x, event 0: "),
    ("cov_y_y", 100, r"column cov_y_y, event 0: "),
    ("cov_qop_qop", 1e6, r"column cov_qop_qop, event 0: "),
    ("pv_cov_z_z", 1e-2, r"column pv_cov_z_z, event 0: "),
]


@pytest.mark.parametrize(("name", "factor", "words"), TRACKS)
def test_tracks_are_held_against_their_particles(trained, name, factor, words):
    generated, reference, _ = trained
    match(generated, reference)
    with pytest.raises(RequestError, match=words):
        match(generated, scaled(reference, factor, (name,)))


def test_tracks_by_themselves(tmp_path, monkeypatch, capsys, trained):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.toml").write_text("")
    convert = ["convert", "t.parquet", "--mapping", "mapping.toml", "--kind", "reference", "--output", "r.parquet"]
    reference = {name: trained[1][name][:5000] for name in LEARNED}
    for name, factor, said in (
        ("qop", 1e3, r"column qop, event 0: .* in 1/MeV"),
        ("cov_x_x", 1e-6, "column cov_x_x, event 0: .* in mm2"),
        ("cov_y_y", 1e6, "column cov_y_y, event 0: .* in mm2"),
    ):
        pq.write_table(pa.table(scaled(reference, factor, (name,))), "t.parquet")
        assert main(convert) == 1
        assert re.search(said, capsys.readouterr().err)
    pq.write_table(pa.table(reference), "t.parquet")
    assert main(convert) == 0


def test_clusters_are_held_against_their_photons():
    z = default_geometry().calorimeter.z
    sample = fire(4000, 22, (2e3, 5e4), (2, 4), seed=1)
    clusters = reconstruct_photons(sample, 1)
    assert len(photons_of(sample)["event"]) == 4000
    matched_clusters(sample, clusters, z)
    for name, factor in (("x", 1e-3), ("y", 0.1), ("energy", 1e-3), ("cov_x_x", 1e-6), ("cov_energy_energy", 1e-6)):
        with pytest.raises(RequestError, match=rf"photon sample: column {name}, event \d+: "):
            matched_clusters(sample, scaled(clusters, factor, (name,)), z)
    with pytest.raises(RequestError, match=r"photon sample: column x, event \d+: "):
        matched_clusters(sample, clusters, z / 1000)
