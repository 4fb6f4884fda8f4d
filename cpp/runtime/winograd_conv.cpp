// Convolutions with 3x3 taps and stride 1 as 16 matrices times panels of 64 transformed tiles (kernels/winograd.h).
#include "panel_matrix.h"
#include "pixel_tiles.h"
#include "winograd_conv.h"

namespace tersenet {
namespace {

constexpr size_t kWorthThreads = 500000;   // multiplications: about 15 us of one thread
constexpr size_t kWorthCopy = 100000;      // floats: the same
constexpr uint32_t kMostChannels = 1024;   // of which transformed tiles take 4 MiB a thread
constexpr uint32_t kWholeVectors = 16;     // a multiple of every column's lanes
constexpr size_t kApart = 16;              // floats between places, which else would share one set of a cache

// Tiles are the output pixels of a convolution with 4x4 taps and stride 2 over the same image, padded to whole tiles.
ConvShape of_tiles(ConvShape shape) {
  const uint32_t high = (shape.out_h + 1) / 2, wide = (shape.out_w + 1) / 2;
  shape.kernel_h = shape.kernel_w = 4;
  shape.stride_h = shape.stride_w = 2;
  shape.pad_bottom = 2 * high + 2 - shape.in_h - shape.pad_top;
  shape.pad_right = 2 * wide + 2 - shape.in_w - shape.pad_left;
  shape.out_h = high;
  shape.out_w = wide;
  return shape;
}

class WinogradConv : public ConvKernel {
 public:
  WinogradConv(const Matrix& weight, const ConvShape& shape, const PanelKernels& kernels, const std::string& name)
      : name_(name), shape_(shape), kernels_(kernels), image_(of_tiles(shape), kernels), tiles_(of_tiles(shape), image_) {
    const std::vector<float> taps = dense_values(weight);
    std::vector<float> places(size_t(kWinogradPlaces) * shape.out_channels * shape.in_channels);
    const size_t each = size_t(shape.out_channels) * shape.in_channels;
    for (size_t k = 0; k < each; ++k) {
      float place[kWinogradPlaces];
      winograd_weight(taps.data() + 9 * k, place);
      for (int p = 0; p < kWinogradPlaces; ++p) places[p * each + k] = place[p];
    }
    Matrix matrix;
    matrix.rows = shape.out_channels;
    matrix.cols = shape.in_channels;
    for (int p = 0; p < kWinogradPlaces; ++p) {
      matrix.value.assign(places.begin() + p * each, places.begin() + (p + 1) * each);
      matrices_.push_back(dense_panel_matrix(matrix, 0, matrix.rows, kernels));
    }
    cut_into_pieces();
  }

  const char* name() const override { return name_.c_str(); }
  size_t bytes() const override {
    size_t sum = tiles_.bytes() + pieces_.size() * sizeof(WinogradPiece);
    for (const auto& matrix : matrices_) sum += matrix->bytes();
    return sum;
  }

  void run(const float* x, size_t batch, const Epilogue& epilogue, float* y, Pool& pool) const override {
    const ConvShape& s = shape_;
    const size_t channels = s.in_channels, in_area = size_t(s.in_h) * s.in_w, stored = image_.channel_size();
    float* images = static_cast<float*>(pool.shared((batch * channels * stored + PhasedImage::kSlack) * sizeof(float)));
    image_.fill_all(x, batch * channels, in_area, images, pool, batch * channels * stored > kWorthCopy);
    const size_t tiles = tiles_.count(), out_size = s.out_channels * size_t(s.out_h) * s.out_w;
    pool.run(batch * tiles, [&](size_t chunk, int worker) {
      const size_t b = chunk / tiles;
      run_tiles(images + b * channels * stored, chunk % tiles, epilogue, epilogue.residual ? epilogue.residual + b * out_size : nullptr, y + b * out_size, pool, worker);
    }, batch * tiles * kPanel * kWinogradPlaces * s.out_channels * channels > kWorthThreads);
  }

 private:
  std::string name_;
  ConvShape shape_;
  PanelKernels kernels_;
  PhasedImage image_;
  PixelTiles tiles_;
  std::vector<std::unique_ptr<PanelMatrix>> matrices_;  // one for each place
  std::vector<WinogradPiece> pieces_;
  std::vector<size_t> first_piece_;                     // of each panel of tiles

  void cut_into_pieces() {
    const uint32_t high = (shape_.out_h + 1) / 2, wide = (shape_.out_w + 1) / 2;
    for (uint32_t first = 0; first < high * wide; first += kPanel) {
      first_piece_.push_back(pieces_.size());
      const uint32_t end = std::min(high * wide, first + kPanel);
      for (uint32_t t = first, count; t < end; t += count) {
        count = std::min(end - t, wide - t % wide);
        const uint32_t row = t / wide * 2, col = t % wide * 2, at = row * shape_.out_w + col;
        pieces_.push_back({2 * (t - first), std::min(2 * count, shape_.out_w - col), at, at + shape_.out_w, row + 1 < shape_.out_h});
      }
    }
    first_piece_.push_back(pieces_.size());
  }

  // The channels' tiles to `places`, by way of `panel` where rows of tiles are too short for vectors.
  void transform(const float* image, size_t panel_of, int width, float* panel, float* places, size_t place_step) const {
    uint32_t in_panel[kWinogradPlaces];
    for (uint32_t p = 0; p < kWinogradPlaces; ++p) in_panel[p] = p * kPanel;
    const bool straight = (shape_.out_w + 1) / 2 % kWholeVectors == 0;
    for (uint32_t c = 0; c < shape_.in_channels; ++c) {
      float* to = places + size_t(c) * kPanel;
      if (!straight) {
        tiles_.gather(kernels_, image, panel_of, c * kWinogradPlaces, kWinogradPlaces, panel);
        kernels_.winograd.input(panel, in_panel, width, to, place_step);
        continue;
      }
      const PanelSegment* segment = tiles_.segments(panel_of);
      for (int t = 0; t < width; t += int(segment->count), ++segment) {
        kernels_.winograd.input(image + segment->from, tiles_.taps() + c * kWinogradPlaces, int(segment->count), to + t, place_step);
      }
    }
  }

  void run_tiles(const float* image, size_t panel_of, const Epilogue& epilogue, const float* residual, float* y, Pool& pool, int worker) const {
    const uint32_t channels = shape_.in_channels, rows = shape_.out_channels;
    const size_t area = size_t(shape_.out_h) * shape_.out_w, place_step = size_t(channels) * kPanel + kApart, sum_step = PanelMatrix::acc_size(kStripRows) + kApart;
    const int width = int(std::min<size_t>(kPanel, size_t((shape_.out_h + 1) / 2) * ((shape_.out_w + 1) / 2) - panel_of * kPanel));
    float* panel = static_cast<float*>(pool.scratch(worker, ((kWinogradPlaces + 1) * size_t(kPanel) + kWinogradPlaces * (place_step + sum_step)) * sizeof(float)));
    float* places = panel + (kWinogradPlaces + 1) * kPanel;
    float* sums = places + kWinogradPlaces * place_step;
    transform(image, panel_of, width, panel, places, place_step);
    const WinogradPiece* pieces = pieces_.data() + first_piece_[panel_of];
    const size_t count = first_piece_[panel_of + 1] - first_piece_[panel_of];
    for (uint32_t from = 0; from < rows; from += kStripRows) {
      const uint32_t strip = std::min(kStripRows, rows - from);
      for (uint32_t r = 0; r < strip; ++r) {
        for (size_t p = 0; p < count; ++p) {
          float* to = y + (from + r) * area;
          prefetch_write(to + pieces[p].upper, pieces[p].count);
          if (pieces[p].has_lower) prefetch_write(to + pieces[p].lower, pieces[p].count);
        }
      }
      for (int p = 0; p < kWinogradPlaces; ++p) {
        const PanelMatrix& matrix = *matrices_[size_t(p)];
        for (uint32_t t = 0; t < matrix.tiles(); ++t) matrix.multiply(t, from, strip, places + p * place_step + size_t(t) * kTileDepth * kPanel, kPanel, width, sums + p * sum_step, nullptr);
      }
      kernels_.winograd.output(sums, sum_step, strip, width, pieces, count, epilogue, from, residual ? residual + from * area : nullptr, y + from * area, area);
    }
  }
};

}  // namespace

void add_winograd_kernel(const Matrix& weight, const ConvShape& shape, const KernelRequest& request, ConvKernels& found) {
  const bool fits = shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride_h == 1 && shape.stride_w == 1 && shape.dilation_h == 1 && shape.dilation_w == 1 && shape.groups == 1;
  if (!fits || shape.in_channels > kMostChannels) return;
  const PanelKernels kernels = panel_kernels(request.cpu);
  const std::string name = std::string("winograd/") + kernels.column;
  if (request.wants(name)) found.push_back(std::make_unique<WinogradConv>(weight, shape, kernels, name));
}

}  // namespace tersenet
