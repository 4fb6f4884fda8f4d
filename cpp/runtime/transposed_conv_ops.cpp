// Transposed convolution: every input pixel adds its weights to a window of the output.
#include "rules.h"

namespace tersenet {
namespace {

struct Shape {
  int64_t in_channels, out_channels, groups, kernel[2], stride[2], dilation[2], pad[2], in[2], out[2];
};

Shape shape_of(const Node& node, const Dims& x, const Dims& weight) {
  need(node, x.ndim == 4 && weight.ndim == 4, "takes an input and a weight of 4 dimensions");
  Shape s{};
  s.groups = node.integer("groups");
  need(node, s.groups >= 1 && s.groups < int64_t(1) << 31 && x.size[1] % uint64_t(s.groups) == 0 && x.size[1] == weight.size[0], "channels and weight do not fit together");
  s.in_channels = int64_t(x.size[1]);
  s.out_channels = int64_t(weight.size[1]) * s.groups;
  const std::vector<int64_t> stride = spread(node, "stride", 2), dilation = spread(node, "dilation", 2), pad = spread(node, "padding", 2), more = spread(node, "output_padding", 2);
  for (size_t i = 0; i < 2; ++i) {
    s.kernel[i] = int64_t(weight.size[2 + i]);
    s.stride[i] = stride[i];
    s.dilation[i] = dilation[i];
    s.pad[i] = pad[i];
    s.in[i] = int64_t(x.size[2 + i]);
    need(node, s.stride[i] >= 1 && s.dilation[i] >= 1 && s.kernel[i] >= 1 && s.in[i] >= 1, "empty sizes");
    need(node, s.kernel[i] < int64_t(1) << 31 && s.in[i] < int64_t(1) << 31, "sizes of 2^31 or more");
    const Dims products{2, {uint64_t(s.in[i]), uint64_t(s.stride[i])}}, spans{2, {uint64_t(s.kernel[i]), uint64_t(s.dilation[i])}};
    s.out[i] = int64_t(checked_numel(products)) - s.stride[i] - 2 * s.pad[i] + int64_t(checked_numel(spans)) - s.dilation[i] + more[i] + 1;
    need(node, s.out[i] >= 1 && s.out[i] < int64_t(1) << 31, "an output of " + std::to_string(s.out[i]));
  }
  return s;
}

std::vector<Spec> infer(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  const Shape s = shape_of(node, inputs[0]->shape, inputs[1]->shape);
  need(node, !inputs[2] || checked_numel(inputs[2]->shape) == uint64_t(s.out_channels), "the bias has not one entry for each channel");
  Spec out;
  for (uint64_t size : {inputs[0]->shape.size[0], uint64_t(s.out_channels), uint64_t(s.out[0]), uint64_t(s.out[1])}) out.shape.push(size);
  return {out};
}

void run(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const Shape s = shape_of(node, inputs[0]->spec.shape, inputs[1]->spec.shape);
  const int64_t in_each = s.in_channels / s.groups, out_each = s.out_channels / s.groups, area = s.out[0] * s.out[1];
  pool.run(size_t(inputs[0]->spec.shape.size[0]) * size_t(s.out_channels), [&](size_t chunk, int) {
    const int64_t image = int64_t(chunk) / s.out_channels, channel = int64_t(chunk) % s.out_channels, group = channel / out_each;
    float* y = outputs[0]->f32() + int64_t(chunk) * area;
    std::fill(y, y + area, inputs[2] ? inputs[2]->f32()[channel] : 0.0f);
    for (int64_t c = 0; c < in_each; ++c) {
      const int64_t from = group * in_each + c;
      const float* x = inputs[0]->f32() + (image * s.in_channels + from) * s.in[0] * s.in[1];
      const float* w = inputs[1]->f32() + (from * out_each + channel % out_each) * s.kernel[0] * s.kernel[1];
      for (int64_t iy = 0; iy < s.in[0]; ++iy) {
        for (int64_t ky = 0; ky < s.kernel[0]; ++ky) {
          const int64_t oy = iy * s.stride[0] - s.pad[0] + ky * s.dilation[0];
          if (oy < 0 || oy >= s.out[0]) continue;
          for (int64_t kx = 0; kx < s.kernel[1]; ++kx) {
            const float weight = w[ky * s.kernel[1] + kx];
            for (int64_t ix = 0; ix < s.in[1]; ++ix) {
              const int64_t ox = ix * s.stride[1] - s.pad[1] + kx * s.dilation[1];
              if (ox >= 0 && ox < s.out[1]) y[oy * s.out[1] + ox] += weight * x[iy * s.in[1] + ix];
            }
          }
        }
      }
    }
  });
}

}  // namespace

void add_transposed_conv_rules(Rules& rules) { rules.push_back({3, false, infer, run}); }

}  // namespace tersenet
