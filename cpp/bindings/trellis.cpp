// Trellis-coded quantisation for Python. Arguments are checked in tersenet.methods._trellis, which is the only caller;
// what would read or write out of bounds is checked again here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "tersenet/trellis.h"

namespace nb = nanobind;
using namespace tersenet;

namespace {

template <class T, int kDims>
using Array = nb::ndarray<T, nb::ndim<kDims>, nb::c_contig, nb::device::cpu>;

bool below(Array<const int64_t, 1> numbers, size_t limit) {
  for (size_t i = 0; i < numbers.shape(0); ++i) {
    if (numbers.data()[i] < 0 || size_t(numbers.data()[i]) >= limit) return false;
  }
  return true;
}

void round_(Array<const double, 2> values, Array<const double, 1> weight, double price, Array<const double, 4> bits,
            Array<const int64_t, 1> row, Array<const int64_t, 1> column, int states, Array<int64_t, 2> levels,
            Array<uint8_t, 2> odd) {
  const size_t columns = values.shape(0), rows = values.shape(1);
  if (states < kLeastStates || states > kMostStates) throw std::invalid_argument("4 to 256 states can be");
  if (weight.shape(0) != columns || column.shape(0) != columns || row.shape(0) != rows || levels.shape(0) != columns ||
      levels.shape(1) != rows || odd.shape(0) != columns || odd.shape(1) != rows || bits.shape(0) != 2 || !bits.shape(3) ||
      !below(row, bits.shape(1)) || !below(column, bits.shape(2))) {
    throw std::invalid_argument("the shapes of a trellis's arguments do not fit together");
  }
  const TrellisPrices prices{bits.data(), bits.shape(1), bits.shape(2), bits.shape(3), row.data(), column.data()};
  nb::gil_scoped_release release;
  PathSearch search(states, rows, prices);
  for (size_t c = 0; c < columns; ++c) {
    search.column(values.data() + c * rows, weight.data()[c], price, c, levels.data() + c * rows, odd.data() + c * rows);
  }
}

}  // namespace

void bind_trellis(nb::module_& m) {
  using namespace nb::literals;
  m.def("trellis_round", &round_, "values"_a, "weight"_a, "price"_a, "bits"_a, "row"_a, "column"_a, "states"_a, "levels"_a, "odd"_a,
        "Writes the cheapest path for each column, and the parity of the states it goes through.");
}
