"""Kubernetes quantities."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.errors import RequestError
from flashlink.pods.quantity import cores, count, shown, size


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500m", 0.5),
        ("2", 2.0),
        (2, 2.0),
        (0.25, 0.25),
        ("1e3", 1000.0),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("100u", 1e-4),
    ],
)
def test_cores(written: str | float, expected: float) -> None:
    assert cores(written, "cpu") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1.5Gi", 1_610_612_736),
        ("100M", 100_000_000),
        ("100k", 100_000),
        ("1Ki", 1024),
        ("1e3", 1000),
        ("7Ei", 7 * 2**60),
        ("1E", 10**18),
        ("129e-1", 13),
        ("1500m", 2),
        (2048, 2048),
        ("0", 0),
        (None, 0),
    ],
)
def test_size(written: str | None, expected: int) -> None:
    assert size(written, "memory") == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        " 1",
        "1 Gi",
        "1gi",
        "1GiB",
        "-1",
        "abc",
        "1e",
        "1e9999",
        "9" * 70,
        "1K",
        "12E",
        "\u0661",
        "1\n",
        True,
        float("nan"),
        [],
    ],
)
def test_what_is_no_quantity_is_refused_by_place(written: object) -> None:
    with pytest.raises(RequestError, match=r"^spec\.x: .* is not a size in bytes"):
        size(written, "spec.x")  # type: ignore[arg-type]


def test_devices_are_whole() -> None:
    assert count("2", "gpu") == 2
    with pytest.raises(RequestError, match="gpu: '500m' is not a whole number of devices"):
        count("500m", "gpu")


@given(st.decimals(min_value=0, max_value=10**9, places=3))
def test_milli_cores_and_decimals_agree(amount: Decimal) -> None:
    assert cores(str(amount), "cpu") == cores(f"{int(amount * 1000)}m", "cpu")


@given(st.integers(0, 2**20), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_binary_suffixes_are_powers_of_1024(number: int, suffix: str) -> None:
    assert size(f"{number}{suffix}", "m") == number * 1024 ** (["Ki", "Mi", "Gi", "Ti"].index(suffix) + 1)


@pytest.mark.parametrize(
    ("bytes_", "text"), [(0, "0"), (1, "1"), (1000, "1000"), (1536 * 1024, "1536Ki"), (2**40, "1Ti")]
)
def test_sizes_are_shown_as_kubernetes_does(bytes_: int, text: str) -> None:
    assert shown(bytes_) == text


@given(st.integers(0, 2**62))
def test_a_size_that_is_shown_reads_as_it_was(number: int) -> None:
    assert size(shown(number), "m") == number


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_one_clear_error(text: str) -> None:
    try:
        said = str(size(text, "place"))
    except RequestError as error:
        said = str(error)
    assert said.isdigit() or said.startswith("place: ")
