// One value in, one value out.
#include <cmath>

#include "rules.h"

namespace tersenet {
namespace {

std::vector<Spec> same(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  return {*inputs[0]};
}

std::vector<Spec> same_any(const Node&, const Specs& inputs, uint64_t) { return {*inputs[0]}; }

template <class F>
void map(const Tensors& inputs, const Outputs& outputs, Pool& pool, const F& f) {
  const float* x = inputs[0]->f32();
  float* y = outputs[0]->f32();
  in_pieces(pool, numel(inputs[0]->spec), 32768, [&](uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; ++i) y[i] = f(x[i]);
  });
}

// A function of the value alone, as a rule's `run`.
template <float (*kFunction)(float)>
void run_plain(const Node&, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  map(inputs, outputs, pool, [](float x) { return kFunction(x); });
}

inline float bounded(float x, float low, float high) { return x < low ? low : x > high ? high : x; }  // NaN stays

float relu(float x) { return x < 0 ? 0 : x; }
float relu6(float x) { return bounded(x, 0, 6); }
float logistic(float x) { return 1 / (1 + std::exp(-x)); }
float hyperbolic(float x) { return std::tanh(x); }
float silu(float x) { return x / (1 + std::exp(-x)); }
float hardswish(float x) { return x * bounded(x + 3, 0, 6) / 6; }
float hardsigmoid(float x) { return bounded(x + 3, 0, 6) / 6; }
float mish(float x) { return x * std::tanh(x > 20 ? x : std::log1p(std::exp(x))); }
float negative(float x) { return -x; }
float absolute(float x) { return std::fabs(x); }
float root(float x) { return std::sqrt(x); }
float reciprocal_root(float x) { return 1 / std::sqrt(x); }
float exponential(float x) { return std::exp(x); }
float logarithm(float x) { return std::log(x); }
float sine(float x) { return std::sin(x); }
float cosine(float x) { return std::cos(x); }
float sign(float x) { return float(x > 0) - float(x < 0); }  // of NaN 0, as PyTorch's

void hardtanh(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float low = float(node.number("min_val")), high = float(node.number("max_val"));
  map(inputs, outputs, pool, [=](float x) { return bounded(x, low, high); });
}

// x Phi(x), or its approximation by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2).
void gelu(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  if (node.get("approximate").text == "tanh") {
    map(inputs, outputs, pool, [](float x) { return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x))); });
  } else {
    map(inputs, outputs, pool, [](float x) { return 0.5f * x * (1 + std::erf(x * 0.7071067812f)); });
  }
}

std::vector<Spec> infer_gelu(const Node& node, const Specs& inputs, uint64_t batch) {
  const std::string& form = node.get("approximate").text;
  need(node, form == "none" || form == "tanh", "approximate is '" + form + "'; expected none or tanh");
  return same(node, inputs, batch);
}

void leaky_relu(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float slope = float(node.number("negative_slope"));
  map(inputs, outputs, pool, [=](float x) { return x < 0 ? slope * x : x; });
}

void elu(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float alpha = float(node.number("alpha")), scale = float(node.number("scale")), inner = float(node.number("input_scale"));
  map(inputs, outputs, pool, [=](float x) { return x < 0 ? alpha * scale * std::expm1(x * inner) : scale * x; });
}

void softplus(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float beta = float(node.number("beta")), threshold = float(node.number("threshold"));
  map(inputs, outputs, pool, [=](float x) { return x * beta > threshold ? x : std::log1p(std::exp(x * beta)) / beta; });
}

void clamp(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float low = node.has("min") ? float(node.number("min")) : -infinity, high = node.has("max") ? float(node.number("max")) : infinity;
  // Where the bounds cross, PyTorch gives the upper one.
  map(inputs, outputs, pool, [=](float x) {
    const float raised = x < low ? low : x;
    return raised > high ? high : raised;
  });
}

void power(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  const float exponent = float(node.number("exponent"));
  if (exponent == 2) return map(inputs, outputs, pool, [](float x) { return x * x; });
  // Local response normalisation's. Of -infinity pow gives infinity.
  if (exponent == 0.75f) {
    return map(inputs, outputs, pool, [](float x) {
      const float kept = x < -std::numeric_limits<float>::max() ? -x : x;
      return std::sqrt(kept) * std::sqrt(std::sqrt(kept));
    });
  }
  map(inputs, outputs, pool, [=](float x) { return std::pow(x, exponent); });
}

// scale * the nearest level, ties to even, of those from quant_min to quant_max, zero_point taken off. PyTorch gives
// NaN as one of the ends; here it stays.
void fake_quantize(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: a sum with it has no fraction
  const float scale = float(node.number("scale")), inverse = 1.0f / scale;
  const float low = float(node.integer("quant_min") - node.integer("zero_point")), high = float(node.integer("quant_max") - node.integer("zero_point"));
  map(inputs, outputs, pool, [=](float x) { return (bounded(x * inverse, low, high) + kWhole - kWhole) * scale; });
}

std::vector<Spec> infer_fake_quantize(const Node& node, const Specs& inputs, uint64_t batch) {
  constexpr int64_t kMost = 1 << 16;
  const float scale = float(node.number("scale"));
  const int64_t low = node.integer("quant_min"), zero = node.integer("zero_point"), high = node.integer("quant_max");
  need(node, scale > 0 && 1.0f / scale > 0 && scale <= 3.4e38f && 1.0f / scale <= 3.4e38f, "its scale must be a positive number that has an inverse");
  need(node, -kMost <= low && low <= zero && zero <= high && high <= kMost, "expected quant_min <= zero_point <= quant_max, within 2^16 of 0");
  return same(node, inputs, batch);
}

// Integers stay integers where the scalar is one, as in PyTorch.
std::vector<Spec> infer_scalar(const Node& node, const Specs& inputs, uint64_t) {
  if (inputs[0]->dtype == Dtype::kInt64) {
    const bool whole = node.op->name != "div_scalar" && !node.get("other").is_float && (node.op->name == "mul_scalar" || !node.get("alpha").is_float);
    need(node, whole, "integers with a float are not served");
    return {*inputs[0]};
  }
  need_float(node, inputs);
  return {*inputs[0]};
}

enum class Scalar { add, sub, mul, div, rsub };

template <Scalar kind>
void run_scalar(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool& pool) {
  constexpr bool scaled = kind == Scalar::add || kind == Scalar::sub || kind == Scalar::rsub;
  if (inputs[0]->spec.dtype == Dtype::kInt64) {
    const uint64_t other = uint64_t(node.integer("other")), alpha = scaled ? uint64_t(node.integer("alpha")) : 1;
    const uint64_t* x = reinterpret_cast<const uint64_t*>(inputs[0]->i64());
    uint64_t* y = reinterpret_cast<uint64_t*>(outputs[0]->i64());
    for (uint64_t i = 0, n = numel(inputs[0]->spec); i < n; ++i) {  // unsigned: wraps as PyTorch's do
      y[i] = kind == Scalar::add ? x[i] + alpha * other : kind == Scalar::sub ? x[i] - alpha * other : kind == Scalar::mul ? x[i] * other : other - alpha * x[i];
    }
    return;
  }
  const float other = float(node.number("other")), alpha = scaled ? float(node.number("alpha")) : 1;
  const float step = float((scaled ? node.number("alpha") : 1.0) * node.number("other"));
  if (kind == Scalar::add) map(inputs, outputs, pool, [=](float x) { return x + step; });
  if (kind == Scalar::sub) map(inputs, outputs, pool, [=](float x) { return x - step; });
  if (kind == Scalar::mul) map(inputs, outputs, pool, [=](float x) { return x * other; });
  if (kind == Scalar::div) map(inputs, outputs, pool, [=](float x) { return x / other; });
  if (kind == Scalar::rsub) map(inputs, outputs, pool, [=](float x) { return other - alpha * x; });
}

std::vector<Spec> infer_to_float(const Node&, const Specs& inputs, uint64_t) { return {{Dtype::kFloat32, inputs[0]->shape}}; }

void to_float(const Node&, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Tensor& x = *inputs[0];
  for (uint64_t i = 0, n = numel(x.spec); i < n; ++i) {
    outputs[0]->f32()[i] = x.spec.dtype == Dtype::kFloat32 ? x.f32()[i] : x.spec.dtype == Dtype::kInt64 ? float(x.i64()[i]) : float(x.truth()[i] != 0);
  }
}

// One slope for all, or one for each channel (axis 1).
std::vector<Spec> infer_prelu(const Node& node, const Specs& inputs, uint64_t) {
  need_float(node, inputs);
  const uint64_t slopes = checked_numel(inputs[1]->shape);
  need(node, slopes == 1 || (inputs[0]->shape.ndim >= 2 && slopes == inputs[0]->shape.size[1]), "has " + str(slopes) + " slopes for a tensor of other channels");
  return {*inputs[0]};
}

void prelu(const Node&, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const Dims& shape = inputs[0]->spec.shape;
  const uint64_t slopes = checked_numel(inputs[1]->spec.shape);
  const uint64_t inner = slopes == 1 ? 1 : span(shape, 2, shape.ndim);
  const float* slope = inputs[1]->f32();
  for (uint64_t i = 0, n = checked_numel(shape); i < n; ++i) {
    const float x = inputs[0]->f32()[i];
    outputs[0]->f32()[i] = x < 0 ? slope[i / inner % slopes] * x : x;
  }
}

}  // namespace

void add_elementwise_rules(Rules& rules) {
  const Rules ours = {
      {10, false, same, run_plain<relu>},      {11, false, same, hardtanh},
      {12, false, same, run_plain<relu6>},     {13, false, same, run_plain<logistic>},
      {14, false, same, run_plain<hyperbolic>}, {15, false, infer_gelu, gelu},
      {16, false, same, run_plain<silu>},      {17, false, same, run_plain<hardswish>},
      {18, false, same, run_plain<hardsigmoid>}, {19, false, same, leaky_relu},
      {20, false, same, elu},                  {21, false, same, softplus},
      {22, false, same, run_plain<mish>},      {25, true, same_any, nullptr},
      {26, false, infer_prelu, prelu},         {44, false, infer_scalar, run_scalar<Scalar::add>},
      {45, false, infer_scalar, run_scalar<Scalar::sub>}, {46, false, infer_scalar, run_scalar<Scalar::mul>},
      {47, false, infer_scalar, run_scalar<Scalar::div>}, {48, false, infer_scalar, run_scalar<Scalar::rsub>},
      {49, false, same, run_plain<negative>},  {50, false, same, run_plain<absolute>},
      {51, false, same, power},                {52, false, same, run_plain<root>},
      {53, false, same, run_plain<reciprocal_root>}, {54, false, same, run_plain<exponential>},
      {55, false, same, run_plain<logarithm>}, {56, false, same, run_plain<sine>},
      {57, false, same, run_plain<cosine>},    {58, false, same, clamp},
      {84, false, infer_to_float, to_float},   {87, true, same_any, nullptr},
      {88, false, same, run_plain<sign>},
      {89, false, infer_fake_quantize, fake_quantize},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
