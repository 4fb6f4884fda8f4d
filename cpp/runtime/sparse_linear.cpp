#include <algorithm>
#include <numeric>

#include "panel_matrix.h"
#include "tersenet/kernels/csr.h"
#include "tersenet/kernels/wsell.h"
#include "tersenet/runtime/layer.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kRestShare = 8;  // at most one entry in so many may have a value beyond the 31 most frequent
constexpr size_t kWorthThreads = 150000;  // non-zeros times vectors: about 15 us of one thread

// Cuts [0, parts) so that each chunk weighs about the same; ends[k] is the end of chunk k.
std::vector<uint32_t> cut(const std::vector<uint32_t>& weight_before, size_t chunks) {
  const uint32_t parts = uint32_t(weight_before.size() - 1);
  std::vector<uint32_t> ends;
  for (size_t k = 1; k <= chunks; ++k) {
    const uint64_t goal = uint64_t(weight_before.back()) * k / chunks;
    const auto at = std::lower_bound(weight_before.begin(), weight_before.end(), goal);
    const uint32_t end = k == chunks ? parts : uint32_t(at - weight_before.begin());
    if (ends.empty() ? end > 0 : end > ends.back()) ends.push_back(end);
  }
  return ends;
}

// The entries for which `keep(code)` holds.
template <class Keep>
Matrix subset(const Matrix& weight, const Keep& keep) {
  Matrix part;
  part.rows = weight.rows;
  part.cols = weight.cols;
  part.sparse = true;
  part.codebook = weight.codebook;
  part.row_start.push_back(0);
  for (uint32_t r = 0; r < weight.rows; ++r) {
    for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) {
      if (!keep(weight.code[e])) continue;
      part.col.push_back(weight.col[e]);
      part.code.push_back(weight.code[e]);
    }
    part.row_start.push_back(uint32_t(part.col.size()));
  }
  return part;
}

// Codes in the order of how often they occur, the most frequent first, and how many entries the first 31 of them have.
struct Frequencies {
  std::vector<uint32_t> order;
  size_t served = 0;

  explicit Frequencies(const Matrix& weight) : order(weight.codebook.size()) {
    const size_t codes = order.size(), count = weight.code.size();
    std::iota(order.begin(), order.end(), 0u);
    served = count;
    if (codes < kWsellCodes) return;  // all of them, in any order
    std::vector<uint32_t> each(4 * codes);  // of every fourth entry: an addition need not wait for that of its neighbour
    const uint16_t* code = weight.code.data();
    size_t e = 0;
    for (; e + 4 <= count; e += 4) {
      for (size_t i = 0; i < 4; ++i) ++each[i * codes + code[e + i]];
    }
    for (; e < count; ++e) ++each[code[e]];
    for (size_t c = 0; c < codes; ++c) each[c] += each[codes + c] + each[2 * codes + c] + each[3 * codes + c];
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return each[a] > each[b]; });
    served = 0;
    for (size_t i = 0; i + 1 < kWsellCodes; ++i) served += each[order[i]];
  }
};

// The 31 most frequent values in the WSELL layout; the few entries with another value row by row beside it.
class WsellLinear : public LinearKernel {
 public:
  WsellLinear(const Matrix& weight, const std::vector<uint32_t>& order, const char* name, WsellRun run, WsellPack pack_group)
      : name_(name), run_(run), pack_group_(pack_group), rows_(weight.rows), cols_(weight.cols), entries_(weight.entries()) {
    if (order.size() < kWsellCodes) {
      std::copy(weight.codebook.begin(), weight.codebook.end(), codebook_ + 1);
      pack(weight, [](uint16_t code) { return uint32_t(code) + 1; });
    } else {
      std::vector<uint8_t> number(weight.codebook.size(), 0);  // of each value in codebook_, 0 for none
      for (size_t i = 0; i + 1 < kWsellCodes; ++i) {
        codebook_[i + 1] = weight.codebook[order[i]];
        number[order[i]] = uint8_t(i + 1);
      }
      pack(subset(weight, [&](uint16_t code) { return number[code] != 0; }), [&](uint16_t code) { return uint32_t(number[code]); });
      const Matrix rest = subset(weight, [&](uint16_t code) { return number[code] == 0; });
      rest_start_ = rest.row_start;
      rest_col_ = rest.col;
      for (size_t e = 0; e < rest.entries(); ++e) rest_value_.push_back(rest.at(e));
    }
    whole_ = {groups()};
    chunks_ = cut(start_, 16);
  }

  const char* name() const override { return name_; }
  size_t bytes() const override {
    return (start_.size() + perm_.size() + base_.size() + rest_start_.size() + 2 * rest_col_.size()) * 4 + 64 * base_.size() + sizeof codebook_;
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const Wsell weight{start_.data(), base_.data(), slots_.data(), codebook_};
    size_t x_step = cols_;
    if (cols_ < kWsellWindow || batch > 1) {  // an odd number of cache lines: windows of several vectors share no set
      x_step = std::max<size_t>(kWsellWindow, ((cols_ + 15) / 16 | 1) * 16);
      float* padded = static_cast<float*>(pool.shared(batch * x_step * sizeof(float)));
      for (size_t b = 0; b < batch; ++b) std::fill(std::copy(x + b * cols_, x + (b + 1) * cols_, padded + b * x_step), padded + (b + 1) * x_step, 0.0f);
      x = padded;
    }
    const std::vector<uint32_t>& ends = entries_ * batch < kWorthThreads || pool.threads() == 1 ? whole_ : chunks_;
    pool.run(ends.size(), [&](size_t chunk, int) {
      const uint32_t from = chunk ? ends[chunk - 1] : 0, to = ends[chunk];
      float sums[kWsellVectors * kWsellRows];
      for (size_t b = 0; b < batch; b += kWsellVectors) {
        const int count = int(std::min<size_t>(kWsellVectors, batch - b));
        for (uint32_t g = from; g < to; ++g) {
          run_(weight, g, g + 1, x + b * x_step, x_step, count, sums);
          if (!rest_col_.empty()) add_rest(g, x + b * x_step, x_step, count, sums);
          store(g, b, count, sums, epilogue, y);
        }
      }
    });
  }

 private:
  const char* name_;
  WsellRun run_;
  WsellPack pack_group_;
  uint32_t rows_, cols_;
  size_t entries_;
  float codebook_[kWsellCodes] = {};
  std::vector<uint32_t> start_, perm_, base_, whole_, chunks_;
  AlignedVector<uint32_t> slots_;
  std::vector<uint32_t> rest_start_, rest_col_;
  std::vector<float> rest_value_;

  void add_rest(uint32_t group, const float* x, size_t x_step, int count, float* sums) const {
    const uint32_t filled = std::min(kWsellRows, rows_ - group * kWsellRows);
    for (uint32_t k = 0; k < filled; ++k) {
      const uint32_t row = perm_[size_t(group) * kWsellRows + k];
      for (uint32_t e = rest_start_[row]; e < rest_start_[row + 1]; ++e) {
        for (int v = 0; v < count; ++v) sums[size_t(v) * kWsellRows + k] += rest_value_[e] * x[size_t(v) * x_step + rest_col_[e]];
      }
    }
  }

  uint32_t groups() const { return uint32_t(start_.size() - 1); }

  void store(uint32_t group, size_t b, int count, const float* sums, const Epilogue& epilogue, float* y) const {
    const uint32_t* perm = perm_.data() + size_t(group) * kWsellRows;
    const uint32_t filled = std::min(kWsellRows, rows_ - group * kWsellRows);
    for (int v = 0; v < count; ++v, sums += kWsellRows) {
      const size_t row_of_y = (b + size_t(v)) * rows_;
      for (uint32_t k = 0; k < filled; ++k) {
        const size_t at = row_of_y + perm[k];
        y[at] = finish(epilogue, perm[k], sums[k], epilogue.residual ? epilogue.residual[at] : 0.0f);
      }
    }
  }

  // Most non-zeros first, so that the rows of a group end together.
  template <class Number>
  void pack(const Matrix& weight, const Number& number) {
    std::vector<uint32_t> order(rows_);
    std::iota(order.begin(), order.end(), 0u);
    const auto count = [&](uint32_t r) { return weight.row_start[r + 1] - weight.row_start[r]; };
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return count(a) > count(b); });
    const uint32_t all = (rows_ + kWsellRows - 1) / kWsellRows;
    order.resize(size_t(all) * kWsellRows, kNoRow);
    perm_ = std::move(order);
    start_.push_back(0);
    std::vector<uint32_t> word, base, slot;
    size_t entries = 0;
    const uint32_t last = cols_ > kWsellWindow ? cols_ - kWsellWindow : 0;
    for (uint32_t g = 0; g < all; ++g) {
      uint32_t begin[kWsellRows] = {}, end[kWsellRows] = {};
      const uint32_t* rows = perm_.data() + size_t(g) * kWsellRows;
      uint32_t count = 0;
      for (uint32_t k = 0; k < kWsellRows && rows[k] != kNoRow; ++k) {
        const uint32_t from = weight.row_start[rows[k]], more = weight.row_start[rows[k] + 1] - from;
        begin[k] = count;
        end[k] = count += more;
        if (word.size() < count) word.resize(2 * size_t(count));
        const uint32_t* col = weight.col.data() + from;
        const uint16_t* code = weight.code.data() + from;
        uint32_t* to = word.data() + begin[k];
        for (uint32_t e = 0; e < more; ++e) to[e] = col[e] << 5 | number(code[e]);
      }
      base.resize(std::max<size_t>(base.size(), count));
      slot.resize(std::max<size_t>(slot.size(), 16 * size_t(count)));
      const uint32_t steps = pack_group_(word.data(), begin, end, last, base.data(), slot.data());
      entries += count;
      reserve(base_.size() + steps, double(weight.entries()) / double(std::max<size_t>(entries, 1)));
      std::copy(slot.begin(), slot.begin() + 16 * size_t(steps), slots_.begin() + 16 * base_.size());
      base_.insert(base_.end(), base.begin(), base.begin() + steps);
      start_.push_back(uint32_t(base_.size()));
    }
  }

  // Room for so many steps, and for those to come where `times` as many entries have as many steps each: what stays
  // unused at the end is never touched.
  void reserve(size_t steps, double times) {
    if (16 * steps <= slots_.size()) return;
    const size_t all = std::max(steps, size_t(1.05 * double(steps) * times));
    AlignedVector<uint32_t> more(16 * all, Uninitialised());
    std::copy(slots_.begin(), slots_.begin() + 16 * base_.size(), more.begin());
    slots_ = std::move(more);
    base_.reserve(all);
  }
};

class CsrLinear : public LinearKernel {
 public:
  CsrLinear(const Matrix& weight, const char* name, CsrRun run) : name_(name), run_(run), rows_(weight.rows), cols_(weight.cols), row_start_(weight.row_start) {
    value_.resize(weight.entries());
    for (size_t e = 0; e < value_.size(); ++e) value_[e] = weight.at(e);
    if (narrow(cols_)) {
      col16_.assign(weight.col.begin(), weight.col.end());
    } else {
      col32_ = weight.col;
    }
    whole_ = {rows_};
    chunks_ = cut(row_start_, 16);
  }

  static bool narrow(uint32_t cols) { return cols <= 65536; }

  const char* name() const override { return name_; }
  size_t bytes() const override { return row_start_.size() * 4 + value_.size() * 4 + col16_.size() * 2 + col32_.size() * 4; }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const void* col = narrow(cols_) ? static_cast<const void*>(col16_.data()) : col32_.data();
    const std::vector<uint32_t>& ends = value_.size() * batch < kWorthThreads || pool.threads() == 1 ? whole_ : chunks_;
    pool.run(ends.size(), [&](size_t chunk, int) {
      const uint32_t from = chunk ? ends[chunk - 1] : 0, to = ends[chunk];
      constexpr uint32_t kBlock = 64;
      float sums[kBlock];
      for (uint32_t first = from; first < to; first += kBlock) {
        const uint32_t end = std::min(to, first + kBlock);
        for (size_t b = 0; b < batch; ++b) {
          run_(row_start_.data(), col, value_.data(), first, end, x + b * cols_, sums);
          for (uint32_t r = first; r < end; ++r) {
            const size_t at = b * rows_ + r;
            y[at] = finish(epilogue, r, sums[r - first], epilogue.residual ? epilogue.residual[at] : 0.0f);
          }
        }
      }
    });
  }

 private:
  const char* name_;
  CsrRun run_;
  uint32_t rows_, cols_;
  std::vector<uint32_t> row_start_, col32_, whole_, chunks_;
  std::vector<uint16_t> col16_;
  std::vector<float> value_;
};

}  // namespace

void add_sparse_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  if (!weight.sparse) return;
  const Cpu cpu = request.cpu;
  const char* wsell = cpu == Cpu::scalar ? "wsell48/scalar" : "wsell48/avx512";
  WsellRun run = cpu == Cpu::scalar ? wsell_run_scalar : nullptr;
  WsellPack pack = wsell_pack_scalar;
#if defined(TERSENET_AVX512)
  if (cpu == Cpu::avx512 || cpu == Cpu::avx512vnni) {
    run = wsell_run_avx512;
    pack = wsell_pack_avx512;
  }
#endif
  if (run && request.wants(wsell) && weight.shared() && weight.cols < kWsellColumns) {
    const Frequencies frequent(weight);
    if (frequent.served >= weight.entries() - weight.entries() / kRestShare) {
      found.push_back(std::make_unique<WsellLinear>(weight, frequent.order, wsell, run, pack));
    }
  }
  add_sparse_panel_kernel(weight, request, found);
  const bool narrow = CsrLinear::narrow(weight.cols);
  const char* csr = narrow ? "csr16/scalar" : "csr32/scalar";
  CsrRun csr_run = narrow ? csr_run_scalar<uint16_t> : csr_run_scalar<uint32_t>;
#if defined(TERSENET_AVX2)
  if (cpu != Cpu::scalar && cpu != Cpu::neon) {
    csr = narrow ? "csr16/avx2" : "csr32/avx2";
    csr_run = narrow ? csr16_run_avx2 : csr32_run_avx2;
  }
#endif
  if (request.wants(csr)) found.push_back(std::make_unique<CsrLinear>(weight, csr, csr_run));
}

}  // namespace tersenet
