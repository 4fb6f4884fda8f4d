// Convolutions on eight-bit integers: four channels of a pixel side by side, gathered into panels of 64 pixels.
#include "int8_weight.h"
#include "panel_matrix.h"
#include "pixel_tiles.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 4000000;  // multiplications: about 15 us of one thread
constexpr size_t kWorthBytes = 100000;     // values to turn into bytes: the same

// The same convolution with four channels to an item; those of the last one that are not there are zeros.
ConvShape of_quads(ConvShape shape) {
  shape.in_channels = shape.groups * ((shape.in_channels / shape.groups + 3) / 4);
  return shape;
}

class PanelConv8 : public ConvKernel {
 public:
  PanelConv8(const Matrix& weight, const ConvShape& shape, const Int8Kernels& kernels, const PanelKernels& panels, const std::optional<Int8Range>& range, const std::string& name)
      : name_(name), shape_(shape), quads_(of_quads(shape)), kernels_(kernels), range_(range), panels_(panels), image_(quads_, panels), tiles_(quads_, image_), weight_(int8_weight(weight)) {
    depth_ = quads_.in_channels / shape.groups * shape.kernel_h * shape.kernel_w;
    rows_ = shape.out_channels / shape.groups;
    blocks_ = (rows_ + kPanelRows - 1) / kPanelRows;
    work_ = size_t(weight.rows) * weight.cols * shape.out_h * shape.out_w;
    packed_ = AlignedVector<int8_t>(size_t(shape.groups) * blocks_ * block_size());
    for (uint32_t r = 0; r < weight.rows; ++r) {
      if (weight.sparse) {
        for (uint32_t e = weight.row_start[r]; e < weight.row_start[r + 1]; ++e) put(weight, r, weight.col[e], e);
      } else {
        for (uint32_t c = 0; c < weight.cols; ++c) put(weight, r, c, size_t(r) * weight.cols + c);
      }
    }
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override { return packed_.size_bytes() + tiles_.bytes() + shape_.out_channels * (sizeof(float) + sizeof(int32_t)); }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const size_t stored = tiles_.pointwise() ? size_t(shape_.in_h) * shape_.in_w : image_.channel_size();
    const size_t head = (batch * sizeof(Int8Range) + 63) / 64 * 64, image_bytes = quads_.in_channels * stored * 4;
    uint8_t* memory = static_cast<uint8_t*>(pool.shared(head + batch * image_bytes + PhasedImage::kSlack * 4));
    Int8Range* ranges = reinterpret_cast<Int8Range*>(memory);
    to_bytes(x, batch, stored, ranges, memory + head, pool);
    const size_t tiles = tiles_.count(), area = size_t(shape_.out_h) * shape_.out_w;
    pool.run(batch * shape_.groups * tiles, [&](size_t chunk, int worker) {
      const size_t tile = chunk % tiles, group = chunk / tiles % shape_.groups, b = chunk / tiles / shape_.groups;
      const uint8_t* image = memory + head + b * image_bytes + group * (image_bytes / shape_.groups);
      const size_t begin = b * shape_.out_channels * area;
      run_tile(image, ranges[b], tile, group, epilogue, epilogue.residual ? epilogue.residual + begin : nullptr, y + begin, pool, worker);
    }, work_ * batch > kWorthThreads);
  }

 private:
  std::string name_;
  ConvShape shape_, quads_;
  Int8Kernels kernels_;
  std::optional<Int8Range> range_;
  PanelKernels panels_;
  PhasedImage image_;
  PixelTiles tiles_;
  Int8Weight weight_;
  uint32_t depth_, rows_, blocks_;  // of the matrix of one group, in quads; its rows, in blocks of kPanelRows
  size_t work_;                     // multiplications for an image
  AlignedVector<int8_t> packed_;    // group by group, block by block, as Int8Kernels::panel takes them

  size_t block_size() const { return size_t(depth_) * kPanelRows * 4; }

  void put(const Matrix& weight, uint32_t row, uint32_t col, size_t entry) {
    const uint32_t taps = shape_.kernel_h * shape_.kernel_w, channel = col / taps, quad = channel / 4 * taps + col % taps;
    const uint32_t group = row / rows_, r = row % rows_;
    const size_t block = size_t(group) * blocks_ + r / kPanelRows;
    packed_[block * block_size() + (size_t(quad) * kPanelRows + r % kPanelRows) * 4 + channel % 4] = weight_.level(weight, entry, row);
  }

  // Images one after the other, each padded as the taps want it.
  void to_bytes(const float* x, size_t batch, size_t stored, Int8Range* ranges, uint8_t* images, Pool& pool) const {
    const size_t area = size_t(shape_.in_h) * shape_.in_w, each = shape_.in_channels / shape_.groups, quads = quads_.in_channels / shape_.groups;
    const bool worth = batch * shape_.in_channels * area > kWorthBytes;
    pool.run(batch, [&](size_t b, int) {
      ranges[b] = example_range(kernels_, x + b * shape_.in_channels * area, shape_.in_channels * area, range_);
    }, worth);
    pool.run(batch * quads_.in_channels, [&](size_t chunk, int worker) {
      const size_t b = chunk / quads_.in_channels, group = chunk % quads_.in_channels / quads, first = chunk % quads * 4;
      const float* channels[4];
      for (size_t k = 0; k < 4; ++k) channels[k] = first + k < each ? x + (b * shape_.in_channels + group * each + first + k) * area : nullptr;
      uint8_t* to = images + chunk * stored * 4;
      if (tiles_.pointwise()) {
        kernels_.quads(channels, area, ranges[b], to);
        return;
      }
      float* plain = static_cast<float*>(pool.scratch(worker, (area + PhasedImage::kSlack) * 4));
      kernels_.quads(channels, area, ranges[b], reinterpret_cast<uint8_t*>(plain));
      image_.fill(plain, reinterpret_cast<float*>(to), uint8_t(ranges[b].zero));
    }, worth);
  }

  void run_tile(const uint8_t* image, const Int8Range& range, size_t tile, size_t group, const Epilogue& epilogue, const float* residual, float* y, Pool& pool, int worker) const {
    const size_t area = size_t(shape_.out_h) * shape_.out_w, pixel = tile * kPanel;
    const int width = int(std::min<size_t>(kPanel, area - pixel));
    float* panel = static_cast<float*>(pool.scratch(worker, (size_t(depth_) + 1 + 2 * kPanelRows) * kPanel * 4));
    int32_t* acc = reinterpret_cast<int32_t*>(panel + (size_t(depth_) + 1) * kPanel);
    float* scaled = panel + (size_t(depth_) + 1 + kPanelRows) * kPanel;
    tiles_.gather(panels_, reinterpret_cast<const float*>(image), tile, 0, depth_, panel);
    for (uint32_t block = 0; block < blocks_; ++block) {
      const int rows = int(std::min<uint32_t>(kPanelRows, rows_ - block * kPanelRows));
      const int8_t* weights = packed_.data() + (group * blocks_ + block) * block_size();
      kernels_.panel(weights, rows, depth_, reinterpret_cast<const uint8_t*>(panel), width, acc, true);
      for (int i = 0; i < rows; ++i) {
        const size_t row = group * rows_ + size_t(block) * kPanelRows + size_t(i), at = row * area + pixel;
        kernels_.scaled(acc + i * kPanel, range.zero * weight_.sum[row], weight_.step[row] * range.scale, width, scaled);
        panels_.finish(epilogue, row, scaled, residual ? residual + at : nullptr, width, y + at);
      }
    }
  }
};

}  // namespace

// With one input channel a group there are few products to add, and three of four bytes would be zeros: float32 serves.
void add_int8_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  if (shape.groups == shape.in_channels || !fits_int8(weight)) return;
  const Int8Kernels kernels = int8_kernels(request.cpu);
  const std::string name = std::string("conv8/") + kernels.column;
  if (request.wants(name)) found.push_back(std::make_unique<PanelConv8>(weight, shape, kernels, panel_kernels(request.cpu), request.range, name));
}

}  // namespace tersenet
