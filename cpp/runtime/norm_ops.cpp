// Normalisation, and softmax: sums run in double precision.
#include <cmath>

#include "rules.h"

namespace tersenet {
namespace {

void need_length(const Node& node, const Spec* spec, uint64_t length, const char* what) {
  need(node, !spec || checked_numel(spec->shape) == length, std::string(what) + " has not " + str(length) + " entries");
}

std::vector<Spec> infer_batch_norm(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  need(node, inputs[0]->shape.ndim >= 2, "takes tensors with channels");
  need(node, inputs[3] && inputs[4], "without running statistics is not served");
  for (size_t i = 1; i < 5; ++i) need_length(node, inputs[i], inputs[0]->shape.size[1], "a tensor of its own");
  return {*inputs[0]};
}

void batch_norm(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = inputs[0]->spec.shape;
  const uint64_t channels = shape.size[1], inner = span(shape, 2, shape.ndim), planes = shape.size[0] * channels;
  const double eps = node.number("eps");
  for (uint64_t i = 0; i < planes; ++i) {
    const uint64_t c = i % channels;
    const double gamma = inputs[1] ? inputs[1]->f32()[c] : 1, beta = inputs[2] ? inputs[2]->f32()[c] : 0;
    const double scale = gamma / std::sqrt(double(inputs[4]->f32()[c]) + eps);
    const float a = float(scale), b = float(beta - double(inputs[3]->f32()[c]) * scale);
    const float* x = inputs[0]->f32() + i * inner;
    float* y = outputs[0]->f32() + i * inner;
    for (uint64_t j = 0; j < inner; ++j) y[j] = x[j] * a + b;
  }
}

// The product of the normalised sizes, which are the last ones of the shape.
uint64_t normalised(const Node& node, const Dims& shape) {
  const std::vector<int64_t>& sizes = node.ints("normalized_shape");
  const int count = int(sizes.size());
  need(node, count >= 1 && count <= shape.ndim, "normalized_shape has more sizes than the input");
  for (int i = 0; i < count; ++i) need(node, sizes[size_t(i)] == int64_t(shape.size[shape.ndim - count + i]), "normalized_shape is not the input's last sizes");
  return span(shape, shape.ndim - count, shape.ndim);
}

std::vector<Spec> infer_trailing_norm(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  const uint64_t inner = normalised(node, inputs[0]->shape);
  for (size_t i = 1; i < inputs.size(); ++i) need_length(node, inputs[i], inner, "weight or bias");
  return {*inputs[0]};
}

struct Moments {
  double mean, deviation;  // deviation: 1 / sqrt(variance + eps)
};

Moments moments(const float* x, uint64_t n, double eps) {
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = n ? sum / double(n) : 0;
  for (uint64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1 / std::sqrt((n ? squares / double(n) : 0) + eps)};
}

void layer_norm(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const uint64_t inner = normalised(node, inputs[0]->spec.shape);
  const uint64_t rows = inner ? numel(inputs[0]->spec) / inner : 0;
  for (uint64_t r = 0; r < rows; ++r) {
    const float* x = inputs[0]->f32() + r * inner;
    float* y = outputs[0]->f32() + r * inner;
    const Moments found = moments(x, inner, node.number("eps"));
    for (uint64_t i = 0; i < inner; ++i) {
      const float unit = float((x[i] - found.mean) * found.deviation);
      y[i] = unit * (inputs[1] ? inputs[1]->f32()[i] : 1) + (inputs[2] ? inputs[2]->f32()[i] : 0);
    }
  }
}

void rms_norm(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const uint64_t inner = normalised(node, inputs[0]->spec.shape);
  const uint64_t rows = inner ? numel(inputs[0]->spec) / inner : 0;
  const double eps = node.has("eps") ? node.number("eps") : double(std::numeric_limits<float>::epsilon());
  for (uint64_t r = 0; r < rows; ++r) {
    const float* x = inputs[0]->f32() + r * inner;
    float* y = outputs[0]->f32() + r * inner;
    double squares = 0;
    for (uint64_t i = 0; i < inner; ++i) squares += double(x[i]) * x[i];
    const double scale = 1 / std::sqrt(squares / double(inner) + eps);
    for (uint64_t i = 0; i < inner; ++i) y[i] = float(x[i] * scale) * (inputs[1] ? inputs[1]->f32()[i] : 1);
  }
}

std::vector<Spec> infer_group_norm(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  const Dims& shape = inputs[0]->shape;
  const int64_t groups = node.integer("num_groups");
  need(node, shape.ndim >= 2 && groups >= 1 && shape.size[1] % uint64_t(groups) == 0, "channels do not fall into groups");
  for (size_t i = 1; i < 3; ++i) need_length(node, inputs[i], shape.size[1], "weight or bias");
  return {*inputs[0]};
}

void group_norm(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = inputs[0]->spec.shape;
  const uint64_t groups = uint64_t(node.integer("num_groups")), channels = shape.size[1], inner = span(shape, 2, shape.ndim);
  const uint64_t each = channels / groups;
  for (uint64_t g = 0; g < shape.size[0] * groups; ++g) {
    const Moments found = moments(inputs[0]->f32() + g * each * inner, each * inner, node.number("eps"));
    for (uint64_t k = 0; k < each; ++k) {
      const uint64_t channel = g % groups * each + k, at = (g * each + k) * inner;
      const float gamma = inputs[1] ? inputs[1]->f32()[channel] : 1, beta = inputs[2] ? inputs[2]->f32()[channel] : 0;
      for (uint64_t i = 0; i < inner; ++i) outputs[0]->f32()[at + i] = float((inputs[0]->f32()[at + i] - found.mean) * found.deviation) * gamma + beta;
    }
  }
}

std::vector<Spec> infer_softmax(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  axis_of(node.integer("dim"), inputs[0]->shape.ndim);
  return {*inputs[0]};
}

template <bool kLog>
void softmax(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = inputs[0]->spec.shape;
  const int axis = axis_of(node.integer("dim"), shape.ndim);
  const uint64_t n = shape.ndim ? shape.size[axis] : 1, inner = shape.ndim ? span(shape, axis + 1, shape.ndim) : 1;
  const uint64_t outer = n && inner ? numel(inputs[0]->spec) / (n * inner) : 0;
  for (uint64_t o = 0; o < outer; ++o) {
    for (uint64_t i = 0; i < inner; ++i) {
      const float* x = inputs[0]->f32() + o * n * inner + i;
      float* y = outputs[0]->f32() + o * n * inner + i;
      float most = -std::numeric_limits<float>::infinity();
      for (uint64_t k = 0; k < n; ++k) most = x[k * inner] > most || x[k * inner] != x[k * inner] ? x[k * inner] : most;
      double sum = 0;
      for (uint64_t k = 0; k < n; ++k) sum += y[k * inner] = std::exp(x[k * inner] - most);
      if (kLog) {
        const float shift = most + float(std::log(sum));
        for (uint64_t k = 0; k < n; ++k) y[k * inner] = x[k * inner] - shift;
      } else {
        const float scale = float(1 / sum);
        for (uint64_t k = 0; k < n; ++k) y[k * inner] *= scale;
      }
    }
  }
}

}  // namespace

void add_norm_rules(Rules& rules) {
  const Rules ours = {
      {4, false, infer_batch_norm, batch_norm},    {5, false, infer_trailing_norm, layer_norm}, {6, false, infer_group_norm, group_norm},
      {7, false, infer_trailing_norm, rms_norm},   {23, false, infer_softmax, softmax<false>},  {24, false, infer_softmax, softmax<true>},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
