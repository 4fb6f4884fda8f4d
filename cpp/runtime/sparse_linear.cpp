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
  WsellLinear(const Matrix& weight, const std::vector<uint32_t>& order, const char* name, WsellRun run, WsellPack pack_group, Pool* pool)
      : name_(name), run_(run), pack_group_(pack_group), rows_(weight.rows), cols_(weight.cols), entries_(weight.entries()) {
    if (order.size() < kWsellCodes) {
      std::copy(weight.codebook.begin(), weight.codebook.end(), codebook_ + 1);
      pack<true>(weight, pool, [](uint16_t code) { return uint32_t(code) + 1; });
    } else {
      std::vector<uint8_t> number(weight.codebook.size(), 0);  // of each value in codebook_, 0 for none
      for (size_t i = 0; i + 1 < kWsellCodes; ++i) {
        codebook_[i + 1] = weight.codebook[order[i]];
        number[order[i]] = uint8_t(i + 1);
      }
      pack<false>(weight, pool, [&](uint16_t code) { return uint32_t(number[code]); });
      rest_start_.push_back(0);
      for (uint32_t r = 0; r < rows_; ++r) {
        for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) {
          if (number[weight.code[e]]) continue;
          rest_col_.push_back(weight.col[e]);
          rest_value_.push_back(weight.at(e));
        }
        rest_start_.push_back(uint32_t(rest_col_.size()));
      }
    }
  }

  const char* name() const override { return name_; }
  size_t bytes() const override {
    size_t words = perm_.size() + rest_start_.size() + 2 * rest_col_.size();
    for (const Part& part : parts_) words += part.start.size() + 17 * part.base.size();
    return 4 * words + sizeof codebook_;
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
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
        for (const Part& part : parts_) {
          const Wsell weight{part.start.data(), part.base.data(), part.slots.data(), codebook_};
          const uint32_t end = std::min(to, part.from + uint32_t(part.start.size() - 1));
          for (uint32_t g = std::max(from, part.from); g < end; ++g) {
            run_(weight, g - part.from, g - part.from + 1, x + b * x_step, x_step, count, sums);
            if (!rest_col_.empty()) add_rest(g, x + b * x_step, x_step, count, sums);
            store(g, b, count, sums, epilogue, y);
          }
        }
      }
    });
  }

 private:
  // Groups from .. from + start.size() - 2, in the layout of wsell.h.
  struct Part {
    uint32_t from = 0;
    std::vector<uint32_t> start;
    BulkVector<uint32_t> base;
    AlignedVector<uint32_t> slots;

    // Room for so many more steps, and for those of `times` as many entries: what stays unused is never touched.
    void reserve(size_t more, double times) {
      const size_t used = base.size();
      if (16 * (used + more) <= slots.size()) return;
      AlignedVector<uint32_t> larger(16 * (size_t(1.05 * double(used) * times) + used + more), Uninitialised());
      std::copy(slots.begin(), slots.begin() + 16 * used, larger.begin());
      slots = std::move(larger);
    }
  };

  const char* name_;
  WsellRun run_;
  WsellPack pack_group_;
  uint32_t rows_, cols_;
  size_t entries_;
  float codebook_[kWsellCodes] = {};
  std::vector<uint32_t> perm_, whole_, chunks_;
  std::vector<Part> parts_;  // one for each thread that packed
  std::vector<uint32_t> rest_start_;
  BulkVector<uint32_t> rest_col_;
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

  // Most non-zeros first, so that the rows of a group end together; but within each thread's share of the groups, so that
  // no two write to the same lines of y. Unless kAll, an entry that `number` gives 0 is left out.
  template <bool kAll, class Number>
  void pack(const Matrix& weight, Pool* pool, const Number& number) {
    std::vector<uint32_t> order(rows_);
    std::iota(order.begin(), order.end(), 0u);
    const auto count = [&](uint32_t r) { return weight.row_start[r + 1] - weight.row_start[r]; };
    const uint32_t all = (rows_ + kWsellRows - 1) / kWsellRows, workers = pool ? uint32_t(pool->threads()) : 1;
    const auto share = [&](uint32_t k) { return order.begin() + std::min<size_t>(rows_, size_t(all) * k / workers * kWsellRows); };
    for (uint32_t k = 0; k < workers; ++k) std::stable_sort(share(k), share(k + 1), [&](uint32_t a, uint32_t b) { return count(a) > count(b); });
    std::vector<uint32_t> entries_before(size_t(all) + 1, 0);
    for (uint32_t k = 0; k < rows_; ++k) entries_before[k / kWsellRows + 1] += count(order[k]);
    std::partial_sum(entries_before.begin(), entries_before.end(), entries_before.begin());
    order.resize(size_t(all) * kWsellRows, kNoRow);
    perm_ = std::move(order);

    const bool alone = pool == nullptr || entries_ < kWorthThreads;
    const std::vector<uint32_t> ends = cut(entries_before, alone ? 1 : size_t(pool->threads()));
    parts_.resize(ends.size());
    const auto pack_part = [&](size_t k, int) { pack_groups<kAll>(weight, number, k ? ends[k - 1] : 0, ends[k], parts_[k]); };
    if (alone) pack_part(0, 0);
    else pool->run(ends.size(), pack_part);
    std::vector<uint32_t> steps_before{0};
    for (const Part& part : parts_) {
      const uint32_t before = steps_before.back();
      for (size_t k = 1; k < part.start.size(); ++k) steps_before.push_back(before + part.start[k]);
    }
    whole_ = {all};
    chunks_ = cut(steps_before, 16);
  }

  template <bool kAll, class Number>
  void pack_groups(const Matrix& weight, const Number& number, uint32_t from, uint32_t to, Part& part) const {
    std::vector<uint32_t> word;
    size_t entries = 0, all = 0;
    const auto entries_of = [&](uint32_t row) { return weight.row_start[row + 1] - weight.row_start[row]; };
    for (size_t k = size_t(from) * kWsellRows; k < size_t(to) * kWsellRows && perm_[k] != kNoRow; ++k) all += entries_of(perm_[k]);
    part.from = from;
    part.start.push_back(0);
    const uint32_t last = cols_ > kWsellWindow ? cols_ - kWsellWindow : 0;
    for (uint32_t g = from; g < to; ++g) {
      uint32_t begin[kWsellRows] = {}, end[kWsellRows] = {};
      const uint32_t* rows = perm_.data() + size_t(g) * kWsellRows;
      uint32_t count = 0, kept = 0;
      for (uint32_t k = 0; k < kWsellRows && rows[k] != kNoRow; ++k) {
        const uint32_t more = entries_of(rows[k]);
        count += more;
        if (word.size() < kept + more) word.resize(2 * (size_t(kept) + more));
        const uint32_t* col = weight.col.data() + weight.row_start[rows[k]];
        const uint16_t* code = weight.code.data() + weight.row_start[rows[k]];
        begin[k] = kept;
        uint32_t* next = word.data() + kept;
        if (kAll) {
          for (uint32_t e = 0; e < more; ++e) next[e] = col[e] << 5 | number(code[e]);
          next += more;
        } else {
          for (uint32_t e = 0; e < more; ++e) {
            const uint32_t known = number(code[e]);
            *next = col[e] << 5 | known;
            next += known != 0;
          }
        }
        end[k] = kept = uint32_t(next - word.data());
      }
      part.reserve(kept, double(all - entries) / double(std::max<size_t>(entries, 1)));
      const size_t before = part.base.size();
      part.base.resize(before + kept);  // a step an entry at most
      const uint32_t steps = pack_group_(word.data(), begin, end, last, part.base.data() + before, part.slots.data() + 16 * before);
      part.base.resize(before + steps);
      entries += count;
      part.start.push_back(uint32_t(part.base.size()));
    }
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
  std::vector<uint32_t> row_start_, whole_, chunks_;
  BulkVector<uint32_t> col32_;
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
      found.push_back(std::make_unique<WsellLinear>(weight, frequent.order, wsell, run, pack, request.pool));
    }
  }
  add_sparse_panel_kernel(weight, request, found);
  const bool narrow = CsrLinear::narrow(weight.cols);
  const char* csr = narrow ? "csr16/scalar" : "csr32/scalar";
  CsrRun csr_run = narrow ? csr_run_scalar<uint16_t> : csr_run_scalar<uint32_t>;
#if defined(TERSENET_AVX2)
  if (cpu != Cpu::scalar) {
    csr = narrow ? "csr16/avx2" : "csr32/avx2";
    csr_run = narrow ? csr16_run_avx2 : csr32_run_avx2;
  }
#elif defined(__aarch64__)
  if (cpu != Cpu::scalar) {
    csr = narrow ? "csr16/neon" : "csr32/neon";
    csr_run = narrow ? csr16_run_neon : csr32_run_neon;
  }
#endif
  if (request.wants(csr)) found.push_back(std::make_unique<CsrLinear>(weight, csr, csr_run));
}

}  // namespace tersenet
