// Convolutions as a weight matrix times panels of up to 64 output pixels, gathered tap by tap from a padded image.
#include "depthwise_conv.h"
#include "panel_matrix.h"
#include "pixel_tiles.h"
#include "winograd_conv.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 1000000;  // multiplications: about 15 us of one thread
constexpr size_t kWorthCopy = 100000;      // floats: the same
constexpr uint32_t kWholeDepth = 1152;     // of a panel that fits in a second-level cache beside weights
constexpr size_t kLine = 16;               // floats

using MakeMatrix = std::unique_ptr<PanelMatrix> (*)(const Matrix&, uint32_t, uint32_t, const PanelKernels&);

class PanelConv : public ConvKernel {
 public:
  PanelConv(const Matrix& weight, const ConvShape& shape, const PanelKernels& kernels, MakeMatrix make, const std::string& name)
      : name_(name), shape_(shape), kernels_(kernels), image_(shape, kernels), tiles_(shape, image_) {
    const uint32_t rows = shape.out_channels / shape.groups;
    for (uint32_t g = 0; g < shape.groups; ++g) matrices_.push_back(make(weight, g * rows, rows, kernels));
    work_ = weight.entries() * shape.out_h * shape.out_w;
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override {
    size_t sum = tiles_.bytes();
    for (const auto& matrix : matrices_) sum += matrix->bytes();
    return sum;
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const ConvShape& s = shape_;
    const size_t channels = s.in_channels, in_area = size_t(s.in_h) * s.in_w, stored = tiles_.pointwise() ? in_area : image_.channel_size();
    const float* from = x;
    if (!tiles_.pointwise()) {
      float* images = static_cast<float*>(pool.shared((batch * channels * stored + PhasedImage::kSlack) * sizeof(float)));
      image_.fill_all(x, batch * channels, in_area, images, pool, batch * channels * stored > kWorthCopy);
      from = images;
    }
    const size_t tiles = tiles_.count(), area = size_t(s.out_h) * s.out_w;
    pool.run(batch * s.groups * tiles, [&](size_t chunk, int worker) {
      const size_t tile = chunk % tiles, group = chunk / tiles % s.groups, b = chunk / tiles / s.groups;
      const uint32_t rows = matrices_[group]->rows();
      const float* image = from + (b * channels + group * (channels / s.groups)) * stored;
      const size_t first = group * rows, begin = (b * s.out_channels + first) * area;
      float* scratch = static_cast<float*>(pool.scratch(worker, scratch_bytes()));
      run_tile(*matrices_[group], image, tile, 0, rows, epilogue, first, epilogue.residual ? epilogue.residual + begin : nullptr, y + begin, scratch);
    }, work_ * batch > kWorthThreads);
  }

  size_t part_scratch() const override { return tiles_.pointwise() && shape_.groups == 1 && whole() ? scratch_bytes() : 0; }

  void run_part(const float* x, uint32_t first, uint32_t count, const Epilogue& epilogue, float* y, void* scratch) const override {
    for (size_t tile = 0; tile < tiles_.count(); ++tile) run_tile(*matrices_[0], x, tile, first, count, epilogue, 0, epilogue.residual, y, static_cast<float*>(scratch));
  }

 private:
  std::string name_;
  ConvShape shape_;
  PanelKernels kernels_;
  PhasedImage image_;
  PixelTiles tiles_;
  size_t work_;                                         // multiplications for an image
  std::vector<std::unique_ptr<PanelMatrix>> matrices_;  // one for each group

  // Whether all that a tile reads is gathered before it is multiplied. Then strips of rows are finished while their sums
  // are near; else all rows take turns.
  bool whole() const { return matrices_[0]->depth() <= kWholeDepth; }
  uint32_t strip() const { return whole() ? kStripRows : matrices_[0]->rows(); }
  size_t panel_size() const { return (size_t(whole() ? matrices_[0]->depth() : kTileDepth) + 1) * kPanel; }
  size_t scratch_bytes() const { return (panel_size() + PanelMatrix::acc_size(strip()) + matrices_[0]->scratch_size()) * sizeof(float); }

  // Rows [first, first + count) of a matrix, whose row 0 is the channel `channel`; y and the residual are those of row `first`.
  void run_tile(const PanelMatrix& matrix, const float* image, size_t tile, uint32_t first, uint32_t count, const Epilogue& epilogue, size_t channel, const float* residual, float* y,
                float* scratch) const {
    const size_t area = size_t(shape_.out_h) * shape_.out_w, pixel = tile * kPanel;
    const int width = int(std::min<size_t>(kPanel, area - pixel));
    float *const panel = scratch, *const acc = panel + panel_size(), *const rest = acc + PanelMatrix::acc_size(strip());
    // Pixels that are not shifted are read where they are, if vectors of them lie on whole cache lines.
    const size_t in_area = size_t(shape_.in_h) * shape_.in_w;
    const bool in_place = whole() && tiles_.pointwise() && width == kPanel && in_area % kLine == 0;
    const size_t step = in_place ? in_area : kPanel;
    const float* const from_panel = in_place ? image + pixel : panel;
    if (whole() && !in_place) tiles_.gather(kernels_, image, tile, 0, matrix.depth(), panel);
    for (uint32_t from = 0; from < count; from += strip()) {
      const uint32_t rows = std::min(strip(), count - from);
      if (whole()) {
        for (uint32_t r = 0; r < rows; ++r) prefetch_write(y + (from + r) * area + pixel, size_t(width));
      }
      for (uint32_t t = 0; t < matrix.tiles(); ++t) {
        if (!whole()) tiles_.gather(kernels_, image, tile, t * kTileDepth, matrix.tile_depth(t), panel);
        matrix.multiply(t, first + from, rows, whole() ? from_panel + size_t(t) * kTileDepth * step : panel, step, width, acc, rest);
      }
      for (uint32_t r = 0; r < rows; ++r) {
        const size_t at = (from + r) * area + pixel;
        kernels_.finish(epilogue, channel + first + from + r, acc + size_t(r) * kPanel, residual ? residual + at : nullptr, width, y + at);
      }
    }
  }
};

void add_panel_conv(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, MakeMatrix make, const PanelKernels& kernels, const std::string& name, ConvKernels& found) {
  if (request.wants(name)) found.push_back(std::make_unique<PanelConv>(weight, shape, kernels, make, name));
}

}  // namespace

void add_dense_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  const PanelKernels kernels = panel_kernels(request.cpu);
  if (shape.groups == shape.in_channels) {
    add_depthwise_kernel(weight, shape, request, found);
  } else {
    add_panel_conv(weight, shape, request, dense_panel_matrix, kernels, std::string("gemm/") + kernels.column, found);
    add_winograd_kernel(weight, shape, request, found);
  }
}

void add_sparse_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  if (!weight.sparse || shape.groups == shape.in_channels) return;
  const PanelKernels kernels = panel_kernels(request.cpu);
  add_panel_conv(weight, shape, request, sparse_panel_matrix, kernels, std::string("spmm/") + kernels.column, found);
}

void add_codes_kernels(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  if (!fits_bytes(weight) || shape.groups == shape.in_channels) return;
  const PanelKernels kernels = panel_kernels(request.cpu);
  add_panel_conv(weight, shape, request, codes_panel_matrix, kernels, std::string("gemm-codes8/") + kernels.codes.column, found);
}

}  // namespace tersenet
