// k-means on a line for Python. Arguments are checked in tersenet.forms._kmeans, which is the only
// caller; what would read or write out of bounds is checked again here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <limits>
#include <stdexcept>

#include "tersenet/kmeans1d.h"

namespace nb = nanobind;
using namespace tersenet;

namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class Index>
using Indices = nb::ndarray<Index, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T>
Out<T> to_numpy(std::vector<T>&& from) {
  auto* kept = new std::vector<T>(std::move(from));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return Out<T>(kept->data(), {kept->size()}, owner);
}

const double* weights_of(const nb::object& weights, Doubles& keep, size_t n) {
  if (weights.is_none()) return nullptr;
  keep = nb::cast<Doubles>(weights);
  if (keep.shape(0) != n) throw std::invalid_argument("one weight is needed for each value");
  return keep.data();
}

void need_some(size_t count) {
  if (count == 0) throw std::invalid_argument("at least one value, and k >= 1, are needed");
}

// Exponent bits all ones: infinite or not a number. No early exit, so that it vectorises.
bool all_finite(Floats values) {
  nb::gil_scoped_release release;
  const float* v = values.data();
  uint32_t bad = 0;
  for (size_t i = 0; i < values.shape(0); ++i) {
    uint32_t bits;
    std::memcpy(&bits, v + i, sizeof bits);
    bad |= uint32_t((bits & 0x7f800000u) == 0x7f800000u);
  }
  return bad == 0;
}

nb::object distinct_values(Floats values, size_t limit) {
  std::vector<float> found;
  bool few;
  {
    nb::gil_scoped_release release;
    Points points;
    few = distinct(values.data(), nullptr, values.shape(0), std::min(limit, values.shape(0)), points);
    found.assign(points.mean.begin(), points.mean.end());
  }
  return few ? nb::cast(to_numpy(std::move(found))) : nb::none();
}

Out<float> optimum_(Floats values, size_t k, nb::object weights) {
  need_some(values.shape(0));
  need_some(k);
  Doubles keep;
  const double* w = weights_of(weights, keep, values.shape(0));
  std::vector<float> centroids;
  {
    nb::gil_scoped_release release;
    centroids = optimum(values.data(), w, values.shape(0), k);
  }
  return to_numpy(std::move(centroids));
}

Out<float> lloyd_(Floats values, Floats start, size_t iterations, nb::object weights) {
  need_some(values.shape(0));
  need_some(start.shape(0));
  Doubles keep;
  const double* w = weights_of(weights, keep, values.shape(0));
  std::vector<float> centroids(start.data(), start.data() + start.shape(0));
  {
    nb::gil_scoped_release release;
    lloyd(values.data(), w, values.shape(0), iterations, centroids);
  }
  return to_numpy(std::move(centroids));
}

// Into an array of numpy's: fresh pages are touched once, by the loop that fills them.
template <class Index>
void assign_into(Floats values, Floats centroids, Indices<Index> out) {
  need_some(centroids.shape(0));
  if (out.shape(0) != values.shape(0)) throw std::invalid_argument("one index is needed for each value");
  if (centroids.shape(0) - 1 > std::numeric_limits<Index>::max())
    throw std::invalid_argument("the index type is too narrow for the centroids");
  nb::gil_scoped_release release;
  assign<Index>(values.data(), values.shape(0), centroids.data(), centroids.shape(0), out.data());
}

template <class Index>
void bind_assign(nb::module_& m) {
  m.def("kmeans1d_assign", &assign_into<Index>, nb::arg("values"), nb::arg("centroids"),
        nb::arg("out").noconvert());
}

}  // namespace

void bind_cluster(nb::module_& m) {
  const auto values = nb::arg("values");
  const auto weights = nb::arg("weights").none();
  m.def("kmeans1d_all_finite", &all_finite, values);
  m.def("kmeans1d_distinct", &distinct_values, values, nb::arg("limit"));
  m.def("kmeans1d_optimum", &optimum_, values, nb::arg("k"), weights);
  m.def("kmeans1d_lloyd", &lloyd_, values, nb::arg("centroids"), nb::arg("iterations"), weights);
  bind_assign<uint8_t>(m);
  bind_assign<uint16_t>(m);
  bind_assign<uint32_t>(m);
}
