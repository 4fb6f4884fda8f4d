#include "tersenet/runtime/weights.h"

#include <algorithm>
#include <numeric>

namespace tersenet {
namespace {

// The two overlap nowhere, which no compiler sees where one of them is of bytes. Inlined into what is called once, the
// loop would be made small instead of fast.
template <class T>
#if defined(__GNUC__)
__attribute__((noinline))
#endif
void copy_codes(const T* __restrict from, size_t count, uint16_t* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] = uint16_t(from[i]);
}

// Elements of one subtree: `index` is empty where all are there in order, else each entry's flat place, in any order.
// Values as in a Matrix: code and codebook, or value; steps as there too, for each of equal runs or by column.
struct Entries {
  bool all = true;
  std::vector<uint32_t> index;
  std::vector<float> codebook;
  BulkVector<uint16_t> code;
  std::vector<float> value;
  std::vector<float> step, zero;
  bool by_column = false;

  size_t size() const { return codebook.empty() ? value.size() : code.size(); }

  // Steps multiplied out: a value for each entry.
  void level() {
    if (step.empty()) return;
    value.resize(code.size());
    each([&](size_t e, size_t k) { value[e] = quiet((codebook[code[e]] - zero[k]) * step[k]); });
    by_column = false;
    step.clear();
    zero.clear();
    code.clear();
    codebook.clear();
  }

  // found(e, k) for each entry e of a run k.
  template <class Found>
  void each(const Found& found) const {
    const size_t runs = step.size(), outer = by_column ? code.size() / runs : runs, inner = code.size() / outer;
    for (size_t i = 0, e = 0; i < outer; ++i) {
      for (size_t j = 0; j < inner; ++j, ++e) found(e, by_column ? j : i);
    }
  }
};

class EntryReader {
 public:
  EntryReader(const StorageTree& tree, const CoderKernels& kernels) : tree_(tree), decoder_(tree, kernels), gaps_(kernels.gaps) {}

  Entries read(const StorageNode& node) const {
    switch (node.kind) {
      case kReshape: return read(child(node, 0));
      case kPermute: return permuted(node);
      case kScatter: return scattered(node);
      case kTable:
        if (shareable(node)) return looked_up(node);
        break;
      case kAffine:
        if (child(node, 0).alphabet > kMostShared || node.numel == 0) break;
        return child(node, 2).numel == 1 ? scaled(node) : stepped(node);
        break;
      default: break;
    }
    return plain(node);
  }

  // Deep Compression's layer, shared values at gaps one after the other: columns, rows and codes as they come, with nothing
  // laid out on the way; where they are and what they are is decoded side by side. False where the tree is another, or
  // where too many are there to be sparse.
  bool placed(const StorageNode& top, Matrix& matrix, Pool& pool) const {
    const StorageNode* node = &top;
    while (node->kind == kReshape) node = &child(*node, 0);
    if (node->kind != kScatter || node->variant || child(*node, 1).kind != kTable || !shareable(child(*node, 1))) return false;
    const StorageNode &values = child(*node, 1), &entries = child(values, 0), &index = child(values, 1);
    if (values.shape.ndim != 1 || double(values.numel) > kSparseBelow * double(top.numel)) return false;
    const Buffer entry = decoder_.decoded(entries);
    if (std::find(entry.as<float>(), entry.as<float>() + entries.numel, 0.0f) != entry.as<float>() + entries.numel) return false;
    matrix.sparse = true;
    matrix.codebook.assign(entry.as<float>(), entry.as<float>() + entries.numel);
    matrix.code.resize(size_t(values.numel));
    matrix.col.resize(size_t(values.numel));
    matrix.row_start.assign(size_t(matrix.rows) + 1, uint32_t(values.numel));
    matrix.row_start[0] = 0;
    const StorageNode& position = child(*node, 0);
    Buffer indices(index.bytes()), symbols(position.bytes());
    const auto read_codes = [&] {
      decoder_.fill(index, indices);
      decoder_.check_index(index, indices.as(), entries.numel);
      with_item(index.item, [&](auto t) {
        copy_codes(indices.as<decltype(t)>(), size_t(values.numel), matrix.code.data());
      });
      indices = Buffer(0);
    };
    const auto read_columns = [&] {
      decoder_.fill(position, symbols);
      with_item(position.item, [&](auto t) { to_columns(symbols.as<decltype(t)>(), position, matrix); });
    };
    pool.run(2, [&](size_t part, int) { part ? read_columns() : read_codes(); }, values.numel >= kWorthThreads);
    return true;
  }

 private:
  static constexpr uint64_t kMostShared = 65536;
  static constexpr uint64_t kWorthThreads = 10000;  // values: about 15 us of one thread

  // The columns and the first entry of each row, as StorageDecoder::for_places has the places. Where gaps have few values
  // about half of them are fillers, which no branch foresees: a column is written for each and counts where it is one.
  template <class T>
  void to_columns(const T* gaps, const StorageNode& position, Matrix& matrix) const {
    const T filler = T(position.alphabet - 1);
    const size_t count = size_t(position.numel), blocks = matrix.col.size();
    const uint64_t size = uint64_t(matrix.rows) * matrix.cols, cols = matrix.cols;
    uint32_t *const col = matrix.col.data(), *row = matrix.row_start.data();
    uint64_t where = 0, begin = 0, end = cols;  // where: at most size before each addition
    uint32_t *to = col, *const last = col + blocks;
    const T *at_gap = gaps, *const stop = gaps + count;
    const auto step = [&] {
      const T gap = *at_gap++;
      const uint64_t at = where + gap, there = gap != filler;
      if (at >= end) {
        if (at >= size) {
          if (there) refuse("a scatter names place " + str(at) + "; there are " + str(size) + " places");
          where = size;
          return;
        }
        for (; at >= end; begin = end, end += cols) *++row = uint32_t(to - col);
      }
      *to = uint32_t(at - begin);
      to += there;
      where = at + there;
    };
    const GapKernel rest_of_row = sizeof(T) == 1 ? gaps_ : nullptr;
    const ptrdiff_t at_once = rest_of_row ? 16 : 64;  // as many as the kernel may leave of a row
    while (stop - at_gap >= at_once && last - to >= at_once) {
      if (rest_of_row) {
        GapRun run{reinterpret_cast<const uint8_t*>(at_gap), reinterpret_cast<const uint8_t*>(stop), to, last, where};
        rest_of_row(run, uint8_t(filler), begin, end);
        at_gap = reinterpret_cast<const T*>(run.gap);
        to = run.to;
        where = run.where;
        if (stop - at_gap < at_once || last - to < at_once) break;
      }
      for (ptrdiff_t k = 0; k < at_once; ++k) step();
    }
    while (at_gap < stop && to < last) step();
    const size_t placed = size_t(to - col);
    size_t i = size_t(at_gap - gaps);
    for (; i < count; ++i) {
      if (gaps[i] != filler) refuse("a scatter names more places than the " + str(blocks) + " values it has");
    }
    if (placed != blocks) refuse("a scatter names " + str(placed) + " places for " + str(blocks) + " values");
  }

  using Buffer = StorageDecoder::Buffer;
  const StorageTree& tree_;
  StorageDecoder decoder_;
  GapKernel gaps_;

  const StorageNode& child(const StorageNode& node, size_t i) const { return tree_.nodes[node.children[i]]; }

  bool shareable(const StorageNode& node) const {
    const StorageNode& entries = child(node, 0);
    return entries.is_float && entries.shape.ndim == 1 && entries.numel >= 1 && entries.numel <= kMostShared;
  }

  Entries plain(const StorageNode& node) const {
    const Buffer from = decoder_.decoded(node);
    Entries found;
    found.value.assign(from.as<float>(), from.as<float>() + node.numel);
    return found;
  }

  static BulkVector<uint16_t> codes(const StorageNode& node, const Buffer& from) {
    BulkVector<uint16_t> found(size_t(node.numel));
    with_item(node.item, [&](auto t) {
      copy_codes(from.as<decltype(t)>(), size_t(node.numel), found.data());
    });
    return found;
  }

  Entries looked_up(const StorageNode& node) const {
    const StorageNode &entries = child(node, 0), &index = child(node, 1);
    const Buffer entry = decoder_.decoded(entries), indices = decoder_.decoded(index);
    decoder_.check_index(index, indices.as(), entries.numel);
    Entries found;
    found.codebook.assign(entry.as<float>(), entry.as<float>() + entries.numel);
    found.code = codes(index, indices);
    return found;
  }

  // (level - zero) * step with one step: the levels are codes of a codebook that is made here.
  Entries scaled(const StorageNode& node) const {
    const StorageNode &levels = child(node, 0), &zero = child(node, 1), &step = child(node, 2);
    const Buffer level = decoder_.decoded(levels), zeros = decoder_.decoded(zero), steps = decoder_.decoded(step);
    uint32_t origin = 0;
    with_item(zero.item, [&](auto t) { origin = zeros.as<decltype(t)>()[0]; });
    Entries found;
    for (uint64_t code = 0; code < levels.alphabet; ++code) {
      found.codebook.push_back(quiet(float(int32_t(code) - int32_t(origin)) * steps.as<float>()[0]));
    }
    found.code = codes(levels, level);
    return found;
  }

  // The same with a step, and perhaps a zero, for each of equal runs.
  Entries stepped(const StorageNode& node) const {
    const StorageNode &levels = child(node, 0), &zero = child(node, 1), &step = child(node, 2);
    const Buffer level = decoder_.decoded(levels), zeros = decoder_.decoded(zero), steps = decoder_.decoded(step);
    Entries found;
    found.step.assign(steps.as<float>(), steps.as<float>() + step.numel);
    found.zero.resize(found.step.size());
    with_item(zero.item, [&](auto t) {
      for (size_t k = 0; k < found.zero.size(); ++k) found.zero[k] = float(zeros.as<decltype(t)>()[zero.numel == 1 ? 0 : k]);
    });
    for (uint64_t code = 0; code < levels.alphabet; ++code) found.codebook.push_back(float(code));
    found.code = codes(levels, level);
    return found;
  }

  Entries scattered(const StorageNode& node) const {
    const StorageNode &position = child(node, 0), &values = child(node, 1);
    const Buffer symbols = decoder_.decoded(position);
    const uint64_t blocks = values.shape.size[0];
    const uint64_t block = blocks ? values.numel / blocks : 0;
    std::vector<uint32_t> place(static_cast<size_t>(blocks));
    uint32_t* const to = place.data();
    decoder_.for_places(node, symbols.as(), blocks, [to](uint64_t where, uint64_t i) { to[i] = uint32_t(where); });
    Entries found = read(values);
    found.level();
    if (found.all && block == 1) {
      found.index = std::move(place);
    } else {
      if (found.all) number(found.index, size_t(values.numel));
      for (uint32_t& at : found.index) at = uint32_t(place[size_t(at / block)] * block + at % block);
    }
    found.all = false;
    return found;
  }

  // Whether the last axis goes to the front and runs are what lay along it, as the form `columns` has it.
  bool turns_columns(const StorageNode& node, const Entries& entries) const {
    const int ndim = node.shape.ndim;
    bool turns = entries.all && !entries.step.empty() && !entries.by_column && entries.code.size() == entries.step.size() * node.shape.size[0];
    for (int i = 0; i < ndim; ++i) turns = turns && node.axes[i] == (i == 0 ? ndim - 1 : i - 1);
    return turns;
  }

  static Entries turned(Entries entries) {
    const size_t cols = entries.step.size(), rows = entries.code.size() / cols;
    BulkVector<uint16_t> code(entries.code.size());
    for (size_t c = 0, e = 0; c < cols; ++c) {
      for (size_t r = 0; r < rows; ++r, ++e) code[r * cols + c] = entries.code[e];
    }
    entries.code.swap(code);
    entries.by_column = true;
    return entries;
  }

  static void number(std::vector<uint32_t>& index, size_t count) {
    index.resize(count);
    std::iota(index.begin(), index.end(), 0u);
  }

  Entries permuted(const StorageNode& node) const {
    const StorageNode& source = child(node, 0);
    Entries found = read(source);
    if (turns_columns(node, found)) return turned(std::move(found));
    found.level();
    if (found.all) number(found.index, size_t(source.numel));
    found.all = false;
    const int ndim = node.shape.ndim;
    uint64_t along[kMaxDims] = {}, stride[kMaxDims], step = 1;
    for (int i = ndim - 1; i >= 0; --i) {
      along[i] = step;
      step *= node.shape.size[i];
    }
    for (int i = 0; i < ndim; ++i) stride[node.axes[i]] = along[i];
    for (uint32_t& at : found.index) {
      uint64_t rest = at, to = 0;
      for (int axis = ndim - 1; axis >= 0; --axis) {
        to += rest % source.shape.size[axis] * stride[axis];
        rest /= source.shape.size[axis];
      }
      at = uint32_t(to);
    }
    return found;
  }
};

template <class Values>
void pick(Values& values, const std::vector<uint32_t>& order) {
  if (values.empty()) return;
  Values picked(order.size());
  for (size_t i = 0; i < order.size(); ++i) picked[i] = values[order[i]];
  values.swap(picked);
}

// Ascending places; each occurs once, since every node writes an element at most once. Entries of a tensor that was
// permuted mostly come in order within each row: they are dealt out to the rows first.
void sort_by_place(Entries& entries, uint32_t rows, uint32_t cols) {
  if (entries.all || std::is_sorted(entries.index.begin(), entries.index.end())) return;
  const std::vector<uint32_t>& index = entries.index;
  std::vector<uint32_t> order(index.size()), next(size_t(rows) + 1);
  for (uint32_t at : index) ++next[at / cols + 1];
  for (uint32_t r = 0; r < rows; ++r) next[r + 1] += next[r];
  for (uint32_t e = 0; e < index.size(); ++e) order[next[index[e] / cols]++] = e;
  const auto before = [&](uint32_t a, uint32_t b) { return index[a] < index[b]; };
  if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
  pick(entries.index, order);
  pick(entries.code, order);
  pick(entries.value, order);
}

// Whether runs lie in rows or are columns, are worth a step, and hold too few zeros for a sparse form of free values to be smaller.
bool keeps_steps(const Entries& entries, uint32_t rows, uint32_t cols) {
  const size_t run = size_t(rows) * cols / entries.step.size();
  if (run < kLeastRun || (entries.by_column ? entries.step.size() != cols : run % cols != 0 && cols % run != 0)) return false;
  size_t zeros = 0;
  entries.each([&](size_t e, size_t k) { zeros += float(entries.code[e]) == entries.zero[k]; });
  return double(entries.code.size() - zeros) > kSteppedSparseBelow * double(entries.code.size());
}

void drop_unused(Matrix& matrix) {
  if (!matrix.shared()) return;
  std::vector<uint32_t> to(matrix.codebook.size(), 0);
  const size_t look = 4096 + 16 * to.size();  // entries between looks at whether all values have been seen
  for (size_t e = 0; e < matrix.code.size();) {
    for (const size_t end = std::min(e + look, matrix.code.size()); e < end; ++e) to[matrix.code[e]] = 1;
    if (std::find(to.begin(), to.end(), 0u) == to.end()) return;
  }
  uint32_t used = 0;
  for (size_t old = 0; old < to.size(); ++old) {
    if (!to[old]) continue;
    matrix.codebook[used] = matrix.codebook[old];
    to[old] = used++;
  }
  for (uint16_t& code : matrix.code) code = uint16_t(to[code]);
  matrix.codebook.resize(std::max<size_t>(used, 1));
}

}  // namespace

Matrix matrix_of(const StorageTree& tree, const CoderKernels& kernels, uint32_t rows, uint32_t cols, Pool& pool) {
  const StorageNode& top = tree.top();
  if (!top.is_float || top.numel != uint64_t(rows) * cols || top.numel >= uint64_t(1) << 31) {
    refuse("a weight of " + str(top.numel) + " elements cannot be run as " + str(rows) + " x " + str(cols));
  }
  const EntryReader reader(tree, kernels);
  Matrix matrix;
  matrix.rows = rows;
  matrix.cols = cols;
  if (reader.placed(top, matrix, pool)) {
    drop_unused(matrix);
    return matrix;
  }
  Entries entries = reader.read(top);
  if (!entries.step.empty() && !keeps_steps(entries, rows, cols)) entries.level();
  sort_by_place(entries, rows, cols);
  const size_t count = entries.size();
  matrix.codebook = std::move(entries.codebook);
  matrix.code = std::move(entries.code);
  matrix.value = std::move(entries.value);
  if (!entries.step.empty()) {
    matrix.step = std::move(entries.step);
    matrix.zero = std::move(entries.zero);
    matrix.by_column = entries.by_column;
    return matrix;
  }
  size_t zeros = 0;
  for (size_t e = 0; e < count; ++e) zeros += matrix.at(e) == 0.0f;
  if (double(count - zeros) > kSparseBelow * double(top.numel)) {
    if (!entries.all) {  // nearly all places are named: dense, with zeros where none is
      std::vector<float> dense(size_t(top.numel));
      for (size_t e = 0; e < count; ++e) dense[entries.index[e]] = matrix.at(e);
      if (count == dense.size() && matrix.shared()) return matrix;
      matrix.value.swap(dense);
      matrix.code.clear();
      matrix.codebook.clear();
    }
    return matrix;
  }
  matrix.sparse = true;
  matrix.row_start.reserve(size_t(rows) + 1);
  matrix.col.resize(count - zeros);
  size_t kept = 0, e = 0;
  for (uint32_t r = 0; r < rows; ++r) {
    const uint32_t begin = r * cols, end = begin + cols;
    matrix.row_start.push_back(uint32_t(kept));
    for (; e < count; ++e) {
      const uint32_t at = entries.all ? uint32_t(e) : entries.index[e];
      if (at >= end) break;
      if (matrix.at(e) == 0.0f) continue;
      matrix.col[kept] = at - begin;
      if (matrix.shared()) matrix.code[kept] = matrix.code[e]; else matrix.value[kept] = matrix.value[e];
      ++kept;
    }
  }
  matrix.row_start.push_back(uint32_t(kept));
  if (matrix.shared()) matrix.code.resize(kept); else matrix.value.resize(kept);
  drop_unused(matrix);
  return matrix;
}

}  // namespace tersenet
