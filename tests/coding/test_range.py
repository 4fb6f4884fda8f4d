from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.bits import IntStream, entropy_bits
from tersenet.coding import encode_smallest, get_coder
from tersenet.coding.reference import range as reference
from tersenet.coding.reference import trellis
from tersenet.coding.reference.range_model import MAX_STRETCH, ORDERED, TREE, Head, tables
from tersenet.errors import TersenetError


def stream(values, alphabet):
    return IntStream(name="x", values=np.asarray(values).astype(np.int64).ravel(), alphabet=alphabet)


def decode(data, alphabet, n):
    return get_coder("range").decode(data, name="x", alphabet=alphabet, n=n).values.tolist()


def size(coder, values, alphabet):
    return len(get_coder(coder).encode(stream(values, alphabet)))


def test_the_tables_are_a_logistic_function_and_its_inverse():
    table = tables()
    x = np.arange(-MAX_STRETCH, MAX_STRETCH + 1) * np.log(257 / 256)
    assert np.abs(np.array(table.squash) - 65536 / (1 + np.exp(-x))).max() <= 1
    assert min(table.squash) >= 1 and max(table.squash) <= 65535 and (np.diff(table.squash) >= 0).all()
    for top, stretch in enumerate(table.stretch):
        assert abs(table.squash[stretch + MAX_STRETCH] - (16 * top + 8)) <= 64


heads = st.builds(
    Head,
    mode=st.sampled_from([TREE, ORDERED]),
    centre=st.integers(0, 12),
    differences=st.booleans(),
    rate=st.integers(13, 16),
    period=st.integers(1, 64),
    row=st.integers(0, 5),
)


@settings(deadline=None, max_examples=100)
@given(heads, st.lists(st.integers(0, 12), min_size=40, max_size=90))
def test_every_head_is_read_by_the_core_as_by_the_reference(head, values):
    data = reference.encode_as(head, values, 13)
    assert decode(data, 13, len(values)) == values
    assert reference.decode(data, alphabet=13, n=len(values)).tolist() == values
    for wrong in (data[:-1], data + b"\0", data + b"\x80"):
        for read in (lambda w: decode(w, 13, len(values)), lambda w: reference.decode(w, alphabet=13, n=len(values))):
            with pytest.raises(TersenetError):
                read(wrong)


def path(numbers, states, run, centre):
    """Values whose magnitudes are the numbered ones that each state allows; the sign is the number's."""
    values, state = [], 0
    for i, number in enumerate(numbers):
        state = 0 if i % run == 0 else state
        far = 2 * abs(number) - (state & 1) if number else 0
        values.append(centre + (far if number > 0 else -far))
        state = trellis.after(states, state, values[-1], centre)
    return values


@settings(deadline=None, max_examples=100)
@given(
    st.integers(trellis.FEWEST, trellis.MOST),
    st.sampled_from([1, 6, 16, 48]),
    st.sampled_from([1, 6]),
    st.lists(st.integers(-3, 3), min_size=48, max_size=48),
)
def test_a_path_is_read_by_the_core_as_by_the_reference(states, run, period, numbers):
    values = path(numbers, states, run, 6)
    assert trellis.follows(states, values, run, 6)
    data = reference.encode_as(Head(ORDERED, 6, period=period, row=0, states=states, run=run), values, 13)
    assert decode(data, 13, 48) == values
    assert reference.decode(data, alphabet=13, n=48).tolist() == values
    for wrong in (data[:-1], data + b"\0"):
        for read in (lambda w: decode(w, 13, 48), lambda w: reference.decode(w, alphabet=13, n=48)):
            with pytest.raises(TersenetError):
                read(wrong)


@pytest.mark.parametrize("states", range(trellis.FEWEST, trellis.MOST + 1))
def test_paths_are_found_and_cost_less_than_their_integers_alone(states):
    """Half of the integers cannot come: what says which is worth up to a bit each."""
    numbers = np.rint(np.random.default_rng(states).laplace(size=640)).astype(int)
    values = np.array(path(numbers.tolist(), states, 32, 40))
    data = get_coder("range").encode(stream(values, 80))
    assert data == reference.encode(values, 80) and data[0] & 64
    assert decode(data, 80, 640) == values.tolist()
    broken = values.copy()
    broken[values > 40] += 1
    assert not get_coder("range").encode(stream(broken, 81))[0] & 64
    plain = reference.encode_as(Head(ORDERED, 40), values.tolist(), 80)
    assert len(data) < 0.9 * len(plain)


def test_a_trellis_of_four_states_leads_where_ungerboecks_does():
    assert [[trellis.next_state(2, state, k) for k in (0, 1)] for state in range(4)] == [[0, 1], [2, 3], [1, 0], [3, 2]]


@pytest.mark.parametrize("states", range(trellis.FEWEST, trellis.MOST + 1))
def test_each_state_of_a_trellis_is_reached_from_two(states):
    reached = [trellis.next_state(states, state, k) for state in range(2**states) for k in (0, 1)]
    assert sorted(reached) == sorted([*range(2**states)] * 2)


def test_the_shortest_end_is_the_only_one():
    """Of all last bytes that decode to the same values, one is taken."""
    values = [0, 1, 1, 0, 1, 0, 0, 0] * 5
    data = get_coder("range").encode(stream(values, 2))
    taken = []
    for last in range(256):
        try:
            if decode(data[:-1] + bytes([last]), 2, 40) == values:
                taken.append(last)
        except TersenetError:
            continue
    assert taken == [data[-1]]


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"\x03\x00", "flags of 3"),
        (b"\x41\x00", "flags of 65"),
        (b"\x08\x00", "flags of 8"),
        (b"\x01\x05", "symbol 5 came; expected below 5"),
        (b"\x09\x00\x01\x00", "rows of 0 and a period of 1"),
        (b"\x09\x00\x00\x03", "a period of 0"),
        (b"\x09\x00\x41\x03", "a period of 65"),
        (b"\x09\x00\x01\x06", "rows of 6"),
        (b"\x09\x00\x81\x00\x03", "needless"),
        (b"\x01\x00\xff\xff\xff\xff", "outside its range"),
        (b"\x80\x00", "flags of 128"),
        (b"\x46\x02\x03\x08", "flags of 70"),
        (b"\x42\x02\x01\x08", r"a trellis of 2\^1 states"),
        (b"\x42\x02\x09\x08", r"a trellis of 2\^9 states"),
        (b"\x42\x02\x03\x00", "in runs of 0"),
        (b"\x42\x02\x03\x07", "in runs of 7"),
    ],
)
def test_a_head_that_no_encoder_writes_is_refused(head, sentence):
    with pytest.raises(TersenetError, match=sentence):
        decode(head + bytes(20), 5, 40)
    with pytest.raises(TersenetError):
        reference.decode(head + bytes(20), alphabet=5, n=40)


def test_small_streams_take_less_than_with_a_table():
    rng = np.random.default_rng(1)
    for alphabet, n in ((2, 100), (2, 400), (16, 200), (32, 150), (300, 200)):
        values = np.minimum(rng.geometric(0.3, n) - 1, alphabet - 1)
        assert size("range", values, alphabet) < size("rans", values, alphabet), (alphabet, n)


def levels(rows, columns, kind):
    """Quantised weights whose scale differs by column, by row, by place in a 3 x 3 kernel, or drifts."""
    rng = np.random.default_rng(2)
    scale = {
        "columns": np.exp(rng.normal(size=(1, columns))),
        "rows": np.exp(rng.normal(size=(rows, 1))),
        "kernel": np.exp(1.5 * rng.normal(size=(1, 9)))[:, np.arange(columns) % 9],
        "drift": np.exp(np.sin(np.arange(rows * columns) / 200)).reshape(rows, columns),
    }[kind]
    return np.clip(np.rint(rng.laplace(size=(rows, columns)) * scale), -15, 15).astype(int) + 15


@pytest.mark.parametrize(("kind", "least"), [("columns", 0.1), ("rows", 0.08), ("kernel", 0.1), ("drift", 0.02)])
def test_structured_streams_are_well_below_rans(kind, least):
    values = levels(96, 288, kind)
    assert size("range", values, 31) < (1 - least) * size("rans", values, 31)


def test_without_structure_it_stays_near_the_entropy():
    values = np.minimum(np.random.default_rng(3).geometric(0.2, 100_000) - 1, 31)
    assert 8 * size("range", values, 32) < 1.006 * entropy_bits(values)


def test_rows_are_found():
    values = levels(96, 288, "columns").ravel().astype(np.uint8)
    head = reference.find_rows(Head(TREE, 15), values, 31)
    assert head.row == 288
    shuffled = np.random.default_rng(4).permutation(values)
    assert reference.find_rows(Head(TREE, 15), shuffled, 31) == Head(TREE, 15)
    assert reference.find_rows(Head(TREE, 15), levels(96, 288, "kernel").ravel(), 31).period == 9


@pytest.mark.parametrize("n", [3000, 9000])
def test_short_streams_take_the_head_that_is_shortest_on_the_whole(n):
    """What does not change is learned best slowly, and a period that sums of columns promise is dropped if it only costs."""
    rng = np.random.default_rng(10)
    scale = np.exp(rng.normal(size=60))[np.arange(n) % 60]
    values = np.clip(np.rint(rng.laplace(size=n) * scale / 8), -6, 6).astype(np.int64) + 6
    data = get_coder("range").encode(stream(values, 13))
    assert data == reference.encode(values, 13)
    first = reference.find_rows(Head(ORDERED, 6), values, 13)
    chosen, _ = reference._read_head(data, 13, n)
    assert first.period > 1 and chosen != first
    assert len(data) < len(reference.encode_as(first, values.tolist(), 13))
    for rate in range(13, 17):
        assert len(data) <= len(reference.encode_as(replace(chosen, rate=rate), values.tolist(), 13))


def test_sorted_values_are_coded_as_differences():
    values = np.sort(np.random.default_rng(5).integers(0, 250, 400))
    assert size("range", values, 256) < 0.5 * size("rans", values, 256)


@pytest.mark.parametrize("alphabet", [2, 7, 256, 5000])
@pytest.mark.parametrize("n", [1, 30, 1000, 20_000])
def test_noise_is_never_above_its_packed_bits(alphabet, n):
    values = np.random.default_rng(6).integers(0, alphabet, n)
    plain = len(get_coder("raw").encode(stream(values, alphabet)))
    assert len(encode_smallest(stream(values, alphabet), "range")[1]) <= plain
    if n * alphabet.bit_length() > 100 * alphabet:
        assert size("range", values, alphabet) <= 1.01 * plain + 8
