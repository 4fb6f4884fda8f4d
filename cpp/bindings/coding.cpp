// The coders for Python: numpy arrays in, bytes out, and back. Long work runs without the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "tersenet/bits.h"
#include "tersenet/byte_model.h"
#include "tersenet/coder_columns.h"
#include "tersenet/huffman.h"
#include "tersenet/range.h"
#include "tersenet/rans.h"

namespace nb = nanobind;

namespace tersenet {
namespace {

using Values = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::bytes as_bytes(const std::vector<uint8_t>& data) { return nb::bytes(data.data(), data.size()); }

// numpy allocates, so that large arrays get the huge pages it asks the kernel for.
Out allocate(nb::object& out, uint64_t n, int itemsize) {
  const char* type = itemsize == 1 ? "uint8" : itemsize == 2 ? "uint16" : "uint32";
  if (out.is_none()) out = nb::module_::import_("numpy").attr("empty")(n, type);
  Out array = nb::cast<Out>(out);
  if (array.shape(0) != n || array.dtype().code != uint8_t(nb::dlpack::dtype_code::UInt) ||
      array.dtype().bits != 8 * itemsize) {
    refuse("out does not hold " + str(n) + " values of " + type);
  }
  return array;
}

// Every value must be below the alphabet: the coders index tables by it.
template <class T>
void check_values(const T* values, size_t n, uint64_t alphabet) {
  T most = 0;
  for (size_t i = 0; i < n; ++i) most = std::max(most, values[i]);
  if (n && most >= alphabet) refuse("a value of " + str(most) + " came; expected below " + str(alphabet));
}

int itemsize_of(const Values& values) {
  const int bits = values.dtype().bits;
  if (values.dtype().code != uint8_t(nb::dlpack::dtype_code::UInt) || (bits != 8 && bits != 16 && bits != 32)) {
    refuse("values are not uint8, uint16 or uint32");
  }
  return bits / 8;
}

void check_alphabet(uint32_t alphabet, int itemsize) {
  if (alphabet < 1 || alphabet > uint32_t(kMaxAlphabet) || itemsize != (alphabet <= 256 ? 1 : 2)) {
    refuse("an alphabet of " + str(alphabet) + " in " + str(itemsize) + " bytes came; expected 1 to 256 in 1, up to 65536 in 2");
  }
}

nb::bytes raw_encode(const Values& values, int width) {
  const int itemsize = itemsize_of(values);
  if (width < 0 || width > 8 * itemsize) refuse("a width of " + str(width) + " came; expected up to " + str(8 * itemsize));
  const size_t n = values.shape(0);
  std::vector<uint8_t> out;
  {
    nb::gil_scoped_release release;
    out.resize((n * size_t(width) + 7) / 8);
    const auto run = [&](auto* data) {
      check_values(data, n, uint64_t(1) << width);
      pack(data, n, width, out.data());
    };
    if (itemsize == 1) run(static_cast<const uint8_t*>(values.data()));
    if (itemsize == 2) run(static_cast<const uint16_t*>(values.data()));
    if (itemsize == 4) run(static_cast<const uint32_t*>(values.data()));
  }
  return as_bytes(out);
}

nb::object raw_decode(const Bytes& data, uint64_t n, int width, int itemsize, nb::object out) {
  if ((itemsize != 1 && itemsize != 2 && itemsize != 4) || width < 0 || width > 8 * itemsize || n >> 40 > 1) {
    refuse("values of " + str(width) + " bits in " + str(itemsize) + " bytes came; expected 1, 2 or 4 bytes that hold them");
  }
  if (data.shape(0) != (n * uint64_t(width) + 7) / 8) {
    refuse(str(data.shape(0)) + " bytes came; " + str(n) + " values of " + str(width) + " bits take " +
           str((n * uint64_t(width) + 7) / 8));
  }
  const Out array = allocate(out, n, itemsize);
  {
    nb::gil_scoped_release release;
    bool clean = true;
    if (itemsize == 1) clean = unpack(data.data(), n, width, static_cast<uint8_t*>(array.data()));
    if (itemsize == 2) clean = unpack(data.data(), n, width, static_cast<uint16_t*>(array.data()));
    if (itemsize == 4) clean = unpack(data.data(), n, width, static_cast<uint32_t*>(array.data()));
    if (!clean) refuse("padding after the last value is not zero");
  }
  return out;
}

template <class Encode>
nb::bytes encode_with(const Values& values, uint32_t alphabet, const Encode& encode) {
  const int itemsize = itemsize_of(values);
  check_alphabet(alphabet, itemsize);
  const size_t n = values.shape(0);
  std::vector<uint8_t> out;
  {
    nb::gil_scoped_release release;
    const auto run = [&](auto* data) {
      check_values(data, n, alphabet);
      out = encode(data, n, alphabet);
    };
    if (itemsize == 1) run(static_cast<const uint8_t*>(values.data()));
    if (itemsize == 2) run(static_cast<const uint16_t*>(values.data()));
  }
  return as_bytes(out);
}

template <class Decoder, class... Kernel>
nb::object decode_with(const Bytes& data, uint64_t n, uint32_t alphabet, nb::object out, Kernel... kernel) {
  const int itemsize = alphabet <= 256 ? 1 : 2;
  check_alphabet(alphabet, itemsize);
  Decoder decoder(data.data(), data.shape(0), n, alphabet);
  const Out array = allocate(out, n, itemsize);
  {
    nb::gil_scoped_release release;
    if (itemsize == 1) decoder.run(kernel..., static_cast<uint8_t*>(array.data()));
    if (itemsize == 2) decoder.run(kernel..., static_cast<uint16_t*>(array.data()));
  }
  return out;
}

}  // namespace
}  // namespace tersenet

void bind_coding(nb::module_& m) {
  using namespace tersenet;
  using namespace nb::literals;
  m.def("cpu_target", [] { return cpu_name(cpu_chosen()); }, "The column of kernels in use: TERSENET_CPU, or the best this CPU has.");
  m.def("raw_encode", &raw_encode, "values"_a, "width"_a, "Values packed in `width` bits each, lowest first.");
  m.def("raw_decode", &raw_decode, "data"_a, "n"_a, "width"_a, "itemsize"_a, "out"_a = nb::none(),
        "The inverse; into `out`, or into a new array.");
  m.def(
      "huffman_encode",
      [](const Values& values, uint32_t alphabet) {
        return encode_with(values, alphabet, [](auto* v, size_t n, uint32_t a) { return huffman_encode(v, n, a); });
      },
      "values"_a, "alphabet"_a, "The huffman coding of values below alphabet.");
  m.def(
      "huffman_decode",
      [](const Bytes& data, uint64_t n, uint32_t alphabet, nb::object out) {
        return decode_with<HuffmanDecoder>(data, n, alphabet, std::move(out), coder_kernels().huffman);
      },
      "data"_a, "n"_a, "alphabet"_a, "out"_a = nb::none(), "n values below alphabet, into `out` or a new array.");
  m.def(
      "rans_encode",
      [](const Values& values, uint32_t alphabet) {
        return encode_with(values, alphabet, [](auto* v, size_t n, uint32_t a) { return rans_encode(v, n, a); });
      },
      "values"_a, "alphabet"_a, "The rans coding of values below alphabet.");
  m.def(
      "rans_decode",
      [](const Bytes& data, uint64_t n, uint32_t alphabet, nb::object out) {
        return decode_with<RansDecoder>(data, n, alphabet, std::move(out), coder_kernels().rans);
      },
      "data"_a, "n"_a, "alphabet"_a, "out"_a = nb::none(), "n values below alphabet, into `out` or a new array.");
  m.def(
      "range_encode",
      [](const Values& values, uint32_t alphabet) {
        return encode_with(values, alphabet, [](auto* v, size_t n, uint32_t a) { return range_encode(v, n, a); });
      },
      "values"_a, "alphabet"_a, "The range coding of values below alphabet.");
  m.def(
      "range_decode",
      [](const Bytes& data, uint64_t n, uint32_t alphabet, nb::object out) {
        return decode_with<RangeDecoder>(data, n, alphabet, std::move(out));
      },
      "data"_a, "n"_a, "alphabet"_a, "out"_a = nb::none(), "n values below alphabet, into `out` or a new array.");
  m.attr("byte_primer") = nb::bytes(kPrimer, sizeof kPrimer);
  m.def(
      "pack_bytes",
      [](const Bytes& data) {
        std::vector<uint8_t> out;
        {
          nb::gil_scoped_release release;
          out = pack_bytes(data.data(), data.shape(0));
        }
        return as_bytes(out);
      },
      "data"_a, "The packed bytes.");
  m.def(
      "unpack_bytes",
      [](const Bytes& data, uint64_t n) {
        std::vector<uint8_t> out;
        {
          nb::gil_scoped_release release;
          out = unpack_bytes(data.data(), data.shape(0), n);
        }
        return as_bytes(out);
      },
      "data"_a, "n"_a, "The n bytes that were packed.");
}
