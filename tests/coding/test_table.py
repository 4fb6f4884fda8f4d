import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.coding import CODERS, coder_code, coder_id, encode_smallest, get_coder
from tersenet.coding.table import CODES
from tersenet.errors import TersenetError


def test_the_table_the_classes_and_the_file_numbers_agree():
    assert CODES == {"raw": 0, "huffman": 1, "rans": 2, "range": 3}
    assert set(CODERS) == set(CODES)
    for coder, place in CODERS.items():
        module, name = place.split(":")
        assert getattr(import_module(module), name).id == coder
        assert get_coder(coder).id == coder and get_coder(coder) is get_coder(coder)
        assert coder_id(coder_code(coder)) == coder


def test_unknown_coders_are_refused_with_the_known_ones():
    for call in (get_coder, coder_code):
        with pytest.raises(TersenetError, match="'hufman' is unknown; this build knows raw, huffman, rans, range"):
            call("hufman")
    with pytest.raises(TersenetError, match=r"number 9 is unknown; this build knows 0 \(raw\)"):
        coder_id(9)


def test_the_table_is_read_without_numpy_or_torch():
    code = "import sys, tersenet.coding; print('torch' in sys.modules, 'numpy' in sys.modules)"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.split() == ["False", "False"]


def test_a_stream_that_would_grow_is_stored_raw():
    tiny = IntStream(name="x", values=np.array([3, 1]), alphabet=4)
    assert encode_smallest(tiny, "huffman") == ("raw", b"\x07")
    skewed = IntStream(name="x", values=np.zeros(1000, np.uint8), alphabet=4)
    coder, data = encode_smallest(skewed, "huffman")
    assert coder == "huffman" and len(data) == 1


@pytest.mark.parametrize("coder", CODERS)
def test_the_smallest_is_never_above_raw_even_where_a_coder_cannot_go(coder):
    rng = np.random.default_rng(0)
    for alphabet in (1, 2, 256, 65536, 65537, 2**32):
        for n in (0, 1, 2, 100):
            values = rng.integers(0, alphabet, n)
            stream = IntStream(name="x", values=values, alphabet=alphabet)
            chosen, data = encode_smallest(stream, coder)
            assert len(data) <= len(get_coder("raw").encode(stream))
            got = get_coder(chosen).decode(data, name="x", alphabet=alphabet, n=n)
            assert got.values.tolist() == values.tolist()


def test_more_values_than_rans_has_slots_for_are_stored_raw():
    stream = IntStream(name="x", values=np.arange(2**15 + 1), alphabet=2**16)
    with pytest.raises(TersenetError, match="rans takes up to 32768"):
        get_coder("rans").encode(stream)
    assert encode_smallest(stream, "rans")[0] == "raw"
