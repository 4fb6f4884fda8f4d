// The Python module tersenet._core: one bind_ function for each room of the C++ core.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_coding(nb::module_& m);
void bind_cluster(nb::module_& m);
void bind_trellis(nb::module_& m);
void bind_storage(nb::module_& m);
void bind_runtime(nb::module_& m);
void bind_kernels(nb::module_& m);

NB_MODULE(_core, m) {
  bind_coding(m);
  bind_cluster(m);
  bind_trellis(m);
  bind_storage(m);
  bind_runtime(m);
  bind_kernels(m);
}
