// Storage trees for Python: bytes in, dense numpy arrays out. Decoding runs without the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <exception>
#include <numeric>
#include <optional>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "tersenet/coder_columns.h"

namespace nb = nanobind;

namespace tersenet {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Array = nb::ndarray<nb::c_contig, nb::device::cpu>;

constexpr size_t kHugePage = size_t(1) << 21;

// Zeros of numpy's, so that Python accounts for them. Pages are made on the first touch, 2 MB at a time where
// the kernel can: a sparse layer touches nearly all of them, and 4 KB faults would take longer than decoding.
nb::object zeros_for(const StorageNode& top) {
  nb::list shape;
  for (int i = 0; i < top.shape.ndim; ++i) shape.append(top.shape.size[i]);
  const char* type = top.is_float ? "float32" : top.item == 1 ? "uint8" : top.item == 2 ? "uint16" : "uint32";
  nb::object out = nb::module_::import_("numpy").attr("zeros")(nb::tuple(shape), type);
#if defined(__linux__)
  const uintptr_t from = uintptr_t(nb::cast<Array>(out).data());
  const uintptr_t first = (from + kHugePage - 1) / kHugePage * kHugePage, last = (from + top.bytes()) / kHugePage * kHugePage;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // a hint: may fail
#endif
  return out;
}

// Decodes every tree into its array; the first refusal in file order is the one that is told.
void decode_all(const std::vector<StorageTree>& trees, const std::vector<void*>& outs, const std::vector<std::string>& names, int threads) {
  const CoderKernels kernels = coder_kernels();
  std::vector<size_t> order(trees.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return trees[a].top().bytes() > trees[b].top().bytes(); });
  std::vector<std::exception_ptr> failures(trees.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t k; (k = next.fetch_add(1)) < order.size();) {
      const size_t i = order[k];
      try {
        StorageDecoder(trees[i], kernels).run(outs[i]);
      } catch (const std::invalid_argument& error) {
        failures[i] = std::make_exception_ptr(std::invalid_argument(names[i] + ": " + error.what()));
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> others;
  try {
    for (int t = 1; t < threads && size_t(t) < trees.size(); ++t) others.emplace_back(work);
  } catch (const std::exception&) {
    // No more threads, or no memory for them, are to be had: this one does what is left. Nothing may leave here
    // while a thread runs.
  }
  work();
  for (std::thread& other : others) other.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

nb::list decoded(const std::vector<StorageTree>& trees, const std::vector<std::string>& names, int threads) {
  nb::list arrays;
  std::vector<void*> outs;
  for (const StorageTree& tree : trees) {
    nb::object array = zeros_for(tree.top());
    outs.push_back(nb::cast<Array>(array).data());
    arrays.append(std::move(array));
  }
  nb::gil_scoped_release release;
  decode_all(trees, outs, names, threads);
  return arrays;
}

nb::object decode_tensor(const Bytes& data, uint64_t max_bytes) {
  StorageBudget budget(max_bytes, max_bytes);
  std::vector<StorageTree> trees;
  trees.push_back(StorageTree::parse(data.data(), data.shape(0), budget));
  budget.peak(trees[0].top().working());
  return decoded(trees, {"tensor"}, 1)[0];
}

// As many threads as may hold their intermediate arrays at once.
int threads_within(const std::vector<StorageTree>& trees, const StorageBudget& budget, int threads) {
  std::vector<uint64_t> beside;
  for (const StorageTree& tree : trees) beside.push_back(tree.top().beside);
  std::sort(beside.rbegin(), beside.rend());
  uint64_t held = budget.used_bytes;
  int fit = 0;
  for (uint64_t bytes : beside) {
    held += bytes;
    if (fit == threads || held > budget.max_bytes) break;
    ++fit;
  }
  return std::max(fit, 1);
}

// A whole weights section and what lies apart from it, a tree for each name. All of it is parsed and compared with the
// declared sizes before anything is allocated.
nb::list decode_weights(const Bytes& section, const std::optional<Bytes>& payload, const std::vector<std::string>& names, uint64_t decoded_bytes,
                        uint64_t max_bytes, uint64_t meant_bytes, int threads) {
  StorageBudget budget(max_bytes, meant_bytes);
  ByteCursor apart(payload ? payload->data() : nullptr, payload ? payload->shape(0) : 0);
  std::vector<StorageTree> trees;
  uint64_t total = 0;
  StorageTree::parse_all(section.data(), section.shape(0), payload ? &apart : nullptr, names.size(), budget,
                         [&](size_t i) { return names[i]; },
                         [&](size_t i, StorageTree&& tree) {
                           total += 4 * tree.top().numel;
                           if (total > decoded_bytes) {
                             refuse("tensor '" + names[i] + "' brings the decoded size above the " + str(decoded_bytes) + " bytes declared");
                           }
                           trees.push_back(std::move(tree));
                         });
  if (total != decoded_bytes) refuse("the tensors decode to " + str(total) + " bytes; the header declares " + str(decoded_bytes));
  return decoded(trees, names, threads_within(trees, budget, threads));
}

}  // namespace
}  // namespace tersenet

void bind_storage(nb::module_& m) {
  using namespace tersenet;
  using namespace nb::literals;
  m.def("decode_tensor", &decode_tensor, "data"_a, "max_bytes"_a, "The dense array of one storage tree.");
  m.def("decode_weights", &decode_weights, "section"_a, "payload"_a.none(), "names"_a, "decoded_bytes"_a, "max_bytes"_a, "meant_bytes"_a, "threads"_a,
        "The dense arrays of a weights section, in order.");
}
