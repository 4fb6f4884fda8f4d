// Linear layers whose dense weights stay codes of four or eight bits: codebooks, and grids with a step for each row or
// group (kernels/codes.h); steps of columns go into the inputs.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "grid.h"
#include "panel_matrix.h"
#include "tersenet/runtime/layer.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 700000;  // multiplications: about 15 us of one thread
constexpr size_t kMostTables = 256, kMostSegments = 65536;

CodesKernels codes_kernels(Cpu cpu) {
#if defined(TERSENET_AVX512VNNI)
  if (cpu == Cpu::avx512vnni) {
    CodesKernels kernels = codes_kernels_avx512();
    add_codes_avx512vnni(kernels);
    return kernels;
  }
#endif
#if defined(TERSENET_AVX512)
  if (cpu == Cpu::avx512) return codes_kernels_avx512();
#endif
#if defined(TERSENET_AVX2)
  if (cpu == Cpu::avx2) return codes_kernels_avx2();
#endif
#if defined(__aarch64__)
  if (cpu >= Cpu::neon) return codes_kernels_neon();
#endif
  (void)cpu;
  return codes_kernels_scalar();
}

bool finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float one) { return std::isfinite(one); });
}

enum class Sort { nibbles, levels, bytes };

// What of a matrix the kernels can take, before anything is packed.
struct CodedWeight {
  bool fits = false;
  Sort sort = Sort::bytes;
  std::vector<float> step, zero;  // of each run; empty where the codebook's values stand for themselves
  size_t run = 0;                 // entries that share a step
  const std::vector<float>* by_column = nullptr;  // steps that inputs are multiplied by

  explicit CodedWeight(const Matrix& weight) {
    const size_t codes = weight.codebook.size();
    if (weight.sparse || !weight.shared() || codes > 256 || !finite(weight.codebook) || !finite(weight.step)) return;
    run = weight.cols;
    sort = codes <= 16 ? Sort::nibbles : Sort::bytes;
    if (weight.by_column) {  // one zero for all
      zero = {weight.zero[0]};
      if (std::any_of(weight.zero.begin(), weight.zero.end(), [&](float one) { return one != zero[0]; })) return;
      step = {1.0f};
      run = size_t(weight.rows) * weight.cols;
      by_column = &weight.step;
    } else if (weight.stepped()) {
      run = weight.run();
      step = weight.step;
      zero = weight.zero;
    } else if (sort == Sort::bytes) {
      if (const std::optional<Grid> grid = grid_of(weight.codebook)) {
        sort = Sort::levels;
        step = {grid->step};
        zero = {grid->zero};
        run = size_t(weight.rows) * weight.cols;
      }
    }
    if (weight.stepped() && sort == Sort::bytes) {
      sort = Sort::levels;
      for (size_t c = 0; c < codes; ++c) {
        if (weight.codebook[c] != float(c)) return;
      }
    }
    const size_t segments = run < weight.cols ? weight.cols / run : 1;
    const bool few = sort != Sort::nibbles || std::set<float>(zero.begin(), zero.end()).size() <= kMostTables;
    fits = segments <= kMostSegments && few;
  }

  const char* name() const { return sort == Sort::nibbles ? "codes4" : sort == Sort::levels ? "levels8" : "codes8"; }
};

class CodedLinear : public LinearKernel {
 public:
  CodedLinear(const Matrix& weight, const CodedWeight& coded, const std::string& name, const CodesKernels& kernels)
      : name_(name), run_(coded.sort == Sort::nibbles ? kernels.nibbles : coded.sort == Sort::levels ? kernels.levels : kernels.bytes),
        order_(coded.sort == Sort::bytes ? kernels.order : nullptr), nibbles_(coded.sort == Sort::nibbles), rows_(weight.rows), cols_(weight.cols),
        width_(std::min(coded.run, cols_)), segments_(cols_ / width_), chunks_((width_ + kChunk - 1) / kChunk),
        blocks_((segments_ * chunks_ + kBlockChunks - 1) / kBlockChunks), row_bytes_(blocks_ * (nibbles_ ? kBlockColumns / 2 : kBlockColumns)),
        code_(rows_ * row_bytes_) {
    runs_per_row(weight, coded);
    if (segments_ > 1) {
      segment_.resize(blocks_ * kBlockChunks, 0);
      for (size_t chunk = 0; chunk < segments_ * chunks_; ++chunk) segment_[chunk] = uint16_t(chunk / chunks_);
    }
    if (coded.by_column) column_ = *coded.by_column;
    for (size_t r = 0; r < rows_; ++r) pack(weight, r);
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override {
    return code_.size_bytes() + (values_.size() + step_.size() + zero_.size() + column_.size()) * sizeof(float) + table_.size() + segment_.size() * sizeof(uint16_t);
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const bool worth = rows_ * cols_ * batch > kWorthThreads;
    size_t step = cols_;
    if (cols_ != blocks_ * kBlockColumns || batch > 1 || !column_.empty()) {  // an odd number of cache lines: vectors share no set
      step = (blocks_ * kBlockColumns / 16 | 1) * 16;
      float* spread = static_cast<float*>(pool.shared(batch * step * sizeof(float)));
      pool.run(batch, [&](size_t b, int) { fill(x + b * cols_, spread + b * step); }, worth);
      x = spread;
    }
    const size_t parts = (rows_ + kRows - 1) / kRows;
    pool.run(parts, [&](size_t part, int) {
      const size_t first = part * kRows, end = std::min(rows_, first + kRows);
      for (size_t b = 0; b < batch; b += kCodeVectors) {
        const int count = int(std::min<size_t>(kCodeVectors, batch - b));
        float sums[kRows][kCodeVectors] = {};
        add(first, end, x + b * step, step, count, sums);
        for (size_t r = first; r < end; ++r) {
          const float scale = segments_ > 1 || step_.empty() ? 1.0f : step_[r];
          for (int v = 0; v < count; ++v) {
            const size_t at = (b + size_t(v)) * rows_ + r;
            y[at] = finish(epilogue, r, sums[r - first][v] * scale, epilogue.residual ? epilogue.residual[at] : 0.0f);
          }
        }
      }
    }, worth);
  }

 private:
  static constexpr size_t kRows = 16;        // that a tile of a few vectors meets
  static constexpr size_t kTileBlocks = 12;  // of four vectors, which stay in the first-level cache meanwhile
  std::string name_;
  CodesRun run_;
  const uint8_t* order_;
  bool nibbles_;
  size_t rows_, cols_;
  size_t width_, segments_, chunks_;  // columns of a segment, segments of a row, chunks of a segment
  size_t blocks_, row_bytes_;
  AlignedVector<uint8_t> code_;
  AlignedVector<float> values_;
  std::vector<uint16_t> segment_;
  std::vector<float> step_, zero_;    // row by row, by segment
  std::vector<float> column_;         // steps of columns, which inputs are multiplied by; then there is one segment
  std::vector<uint8_t> table_;

  // Rows first .. end - 1 times `count` vectors.
  void add(size_t first, size_t end, const float* x, size_t x_step, int count, float (*sums)[kCodeVectors]) const {
    const size_t tile = count == 1 ? blocks_ : kTileBlocks;
    for (size_t from = 0; from < blocks_; from += tile) {
      const Codes weight{std::min(tile, blocks_ - from), segments_ > 1 ? segment_.data() + from * kBlockChunks : nullptr, values_.data()};
      for (size_t r = first; r < end; ++r) {
        CodeRow part = row(r);
        part.code += from * (row_bytes_ / blocks_);
        float more[kCodeVectors];
        run_(weight, part, x + from * kBlockColumns, x_step, count, more);
        for (int v = 0; v < count; ++v) sums[r - first][v] += more[v];
      }
    }
  }

  CodeRow row(size_t r) const {
    static constexpr uint8_t kFirst = 0;
    const size_t at = r * segments_;
    const auto of = [at](const std::vector<float>& each) { return each.empty() ? nullptr : each.data() + at; };
    return {code_.data() + r * row_bytes_, of(step_), of(zero_), table_.empty() ? &kFirst : table_.data() + at};
  }

  // A vector laid out as a row: each segment filled up with zeros.
  void fill(const float* x, float* to) const {
    float* const end = to + blocks_ * kBlockColumns;
    for (size_t s = 0; s < segments_; ++s, x += width_) {
      if (column_.empty()) {
        to = std::copy(x, x + width_, to);
      } else {
        to = std::transform(x, x + width_, column_.begin(), to, [](float value, float step) { return value * step; });
      }
      const size_t rest = chunks_ * kChunk - width_;
      std::fill(to, to + rest, 0.0f);
      to += rest;
    }
    std::fill(to, end, 0.0f);
  }

  // Steps and zeros of each row, or the tables that zeros make of a codebook.
  void runs_per_row(const Matrix& weight, const CodedWeight& coded) {
    const size_t codes = weight.codebook.size();
    const auto of_run = [&](size_t r, size_t s) { return (r * cols_ + s * width_) / coded.run; };
    if (!coded.step.empty()) {
      for (size_t r = 0; r < rows_; ++r) {
        for (size_t s = 0; s < segments_; ++s) step_.push_back(coded.step[of_run(r, s)]);
      }
    }
    if (!nibbles_) {
      values_ = AlignedVector<float>(256);
      std::copy(weight.codebook.begin(), weight.codebook.end(), values_.begin());
      for (size_t r = 0; !coded.zero.empty() && r < rows_; ++r) {
        for (size_t s = 0; s < segments_; ++s) zero_.push_back(coded.zero[of_run(r, s)]);
      }
      return;
    }
    std::map<float, uint8_t> number;
    for (float zero : coded.zero) number.emplace(zero, uint8_t(number.size()));
    if (number.empty()) number[0.0f] = 0;
    values_ = AlignedVector<float>(16 * number.size());
    for (const auto& [zero, table] : number) {
      for (size_t c = 0; c < codes; ++c) values_[16 * table + c] = weight.codebook[c] - zero;
    }
    for (size_t r = 0; number.size() > 1 && r < rows_; ++r) {
      for (size_t s = 0; s < segments_; ++s) table_.push_back(number[coded.zero[of_run(r, s)]]);
    }
    // Segments look their tables up even where there is one.
    if (segments_ > 1 && table_.empty()) table_.resize(rows_ * segments_, 0);
  }

  void pack(const Matrix& weight, size_t r) {
    uint8_t* to = code_.data() + r * row_bytes_;
    const uint16_t* code = weight.code.data() + r * cols_;
    for (size_t s = 0; s < segments_; ++s) {
      for (size_t i = 0; i < width_; ++i, ++code) {
        const size_t chunk = s * chunks_ + i / kChunk, l = i % kChunk;
        if (nibbles_) {
          to[chunk / 8 * 64 + 4 * l + chunk % 8 / 2] |= uint8_t(*code << chunk % 2 * 4);
        } else {
          const size_t column = chunk * kChunk + l;
          to[column / 64 * 64 + place(column % 64)] = uint8_t(*code);
        }
      }
    }
  }

  // Where the byte of a column goes among 64; orders are their own inverse.
  size_t place(size_t column) const { return order_ ? order_[column] : column; }
};

}  // namespace

void add_codes_kernels(const Matrix& weight, const KernelRequest& request, LinearKernels& found) {
  add_codes_panel_kernel(weight, request, found);
  const CodedWeight coded(weight);
  if (!coded.fits) return;
  const CodesKernels kernels = codes_kernels(request.cpu);
  const std::string name = std::string(coded.name()) + "/" + kernels.column;
  if (request.wants(name)) found.push_back(std::make_unique<CodedLinear>(weight, coded, name, kernels));
}

}  // namespace tersenet
