// The same elements in another shape or order. New shapes cost nothing; another order is one strided copy.
#include "rules.h"

namespace tersenet {
namespace {

// An output whose element (i, j, ...) is the input's at offset + i * stride[0] + j * stride[1] + ...
struct View {
  Dims shape;
  int64_t stride[kMaxDims] = {};
  int64_t offset = 0;

  void push(uint64_t size, int64_t step) {
    stride[shape.ndim] = step;
    shape.push(size);
  }
};

View whole(const Dims& shape) {
  View view;
  view.shape = shape;
  int64_t step = 1;
  for (int i = shape.ndim - 1; i >= 0; --i) {
    view.stride[i] = step;
    step *= int64_t(std::max<uint64_t>(shape.size[i], 1));
  }
  return view;
}

using MakeView = View (*)(const Node&, const Dims&, uint64_t batch);

template <class T>
void copy_view(const View& view, const T* x, T* y) {
  const int last = view.shape.ndim - 1;
  const uint64_t n = last >= 0 ? view.shape.size[last] : 1, total = checked_numel(view.shape);
  const int64_t step = last >= 0 ? view.stride[last] : 0;
  uint64_t at[kMaxDims] = {};
  const T* from = x + view.offset;
  for (uint64_t done = 0; done < total; done += n) {
    for (uint64_t i = 0; i < n; ++i) y[done + i] = from[int64_t(i) * step];
    for (int axis = last - 1; axis >= 0; --axis) {
      from += view.stride[axis];
      if (++at[axis] < view.shape.size[axis]) break;
      from -= view.stride[axis] * int64_t(view.shape.size[axis]);
      at[axis] = 0;
    }
  }
}

void copy_any(const View& view, const Tensor& x, const Tensor& y) {
  switch (item_bytes(x.spec.dtype)) {
    case 4: return copy_view(view, x.f32(), y.f32());
    case 8: return copy_view(view, x.i64(), y.i64());
    default: return copy_view(view, x.truth(), y.truth());
  }
}

template <MakeView kMake>
std::vector<Spec> infer_view(const Node& node, const Specs& inputs, uint64_t batch) {
  return {{inputs[0]->dtype, kMake(node, inputs[0]->shape, batch).shape}};
}

// The batch is in the output's shape already where a view asks for it.
template <MakeView kMake>
void run_view(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  copy_any(kMake(node, inputs[0]->spec.shape, 0), *inputs[0], *outputs[0]);
}

View permute(const Node& node, const Dims& shape, uint64_t) {
  const std::vector<int64_t>& dims = node.ints("dims");
  need(node, int(dims.size()) == shape.ndim, "dims name " + str(dims.size()) + " axes of " + str(unsigned(shape.ndim)));
  const View from = whole(shape);
  View view;
  unsigned seen = 0;
  for (int64_t dim : dims) {
    const int axis = axis_of(dim, shape.ndim);
    need(node, !(seen >> axis & 1), "an axis is named twice");
    seen |= 1u << axis;
    view.push(shape.size[axis], from.stride[axis]);
  }
  return view;
}

View transpose(const Node& node, const Dims& shape, uint64_t) {
  View view = whole(shape);
  if (shape.ndim == 0) return view;
  const int a = axis_of(node.integer("dim0"), shape.ndim), b = axis_of(node.integer("dim1"), shape.ndim);
  std::swap(view.shape.size[a], view.shape.size[b]);
  std::swap(view.stride[a], view.stride[b]);
  return view;
}

View slice(const Node& node, const Dims& shape, uint64_t) {
  View view = whole(shape);
  need(node, shape.ndim > 0, "of a tensor without axes");
  const int axis = axis_of(node.integer("dim"), shape.ndim);
  const int64_t size = int64_t(shape.size[axis]), step = node.integer("step");
  need(node, step >= 1, "a step of " + std::to_string(step));
  const auto inside = [&](const char* name, int64_t fallback) {
    int64_t at = node.has(name) ? node.integer(name) : fallback;
    if (at < 0) at += size;
    return std::min(std::max<int64_t>(at, 0), size);
  };
  const int64_t start = inside("start", 0), end = std::max(inside("end", size), start);
  view.offset = start * view.stride[axis];
  view.shape.size[axis] = uint64_t((end - start) / step + ((end - start) % step != 0));
  view.stride[axis] = step < size ? view.stride[axis] * step : 0;  // a larger step takes one element at most
  return view;
}

View select(const Node& node, const Dims& shape, uint64_t) {
  need(node, shape.ndim > 0, "of a tensor without axes");
  const View from = whole(shape);
  const int axis = axis_of(node.integer("dim"), shape.ndim);
  int64_t index = node.integer("index");
  if (index < 0) index += int64_t(shape.size[axis]);
  need(node, index >= 0 && index < int64_t(shape.size[axis]), "index " + std::to_string(node.integer("index")) + " of " + str(shape.size[axis]));
  View view;
  view.offset = index * from.stride[axis];
  for (int i = 0; i < shape.ndim; ++i) {
    if (i != axis) view.push(shape.size[i], from.stride[i]);
  }
  return view;
}

View flip(const Node& node, const Dims& shape, uint64_t) {
  View view = whole(shape);
  unsigned seen = 0;
  for (int64_t dim : node.ints("dims")) {
    const int axis = axis_of(dim, shape.ndim);
    if (shape.ndim == 0) continue;
    need(node, !(seen >> axis & 1), "an axis is named twice");
    seen |= 1u << axis;
    if (shape.size[axis]) view.offset += int64_t(shape.size[axis] - 1) * view.stride[axis];
    view.stride[axis] = -view.stride[axis];
  }
  return view;
}

// Sizes of 1 are repeated, new axes come in front; -1 keeps a size, 0 is the batch.
View expanded(const Node& node, const Dims& shape, uint64_t batch) {
  const std::vector<int64_t>& sizes = node.ints("size");
  const View from = whole(shape);
  const int more = int(sizes.size()) - shape.ndim;
  need(node, more >= 0, "to fewer axes than there are");
  View view;
  for (int i = 0; i < int(sizes.size()); ++i) {
    const uint64_t old = i < more ? 1 : shape.size[i - more];
    const int64_t given = sizes[size_t(i)];
    need(node, given >= -1 && given < int64_t(1) << 40 && (given != -1 || i >= more), "a size of " + std::to_string(given));
    const uint64_t size = given == -1 ? old : given == 0 ? batch : uint64_t(given);
    need(node, old == 1 || old == size, "a size of " + str(old) + " cannot become " + str(size));
    view.push(size, old == 1 ? 0 : from.stride[i - more]);
  }
  return view;
}

void run_expand(const Node&, const Tensors& inputs, const Outputs& outputs, Pool&) {
  const View from = whole(inputs[0]->spec.shape);
  View view;
  const Dims& out = outputs[0]->spec.shape;
  const int more = out.ndim - from.shape.ndim;
  for (int i = 0; i < out.ndim; ++i) view.push(out.size[i], i < more || from.shape.size[i - more] == 1 ? 0 : from.stride[i - more]);
  copy_any(view, *inputs[0], *outputs[0]);
}

// The view has more axes than the output; row-major, they are the same.
View shuffle_view(const Node& node, const Dims& shape) {
  const int64_t groups = node.integer("groups");
  need(node, shape.ndim >= 3 && groups >= 1 && shape.size[1] % uint64_t(groups) == 0, "channels do not fall into groups");
  const int64_t inner = int64_t(span(shape, 2, shape.ndim)), each = int64_t(shape.size[1]) / groups;
  View view;
  view.push(shape.size[0], int64_t(shape.size[1]) * inner);
  view.push(uint64_t(each), inner);
  view.push(uint64_t(groups), each * inner);
  view.push(uint64_t(inner), 1);
  return view;
}

std::vector<Spec> infer_channel_shuffle(const Node& node, const Specs& inputs, uint64_t) {
  shuffle_view(node, inputs[0]->shape);
  return {*inputs[0]};
}

void channel_shuffle(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  copy_any(shuffle_view(node, inputs[0]->spec.shape), *inputs[0], *outputs[0]);
}

View pixel_view(const Node& node, const Dims& shape) {
  const int64_t r = node.integer("upscale_factor");
  need(node, shape.ndim >= 3 && r >= 1 && r < 1 << 15, "takes images and a factor of at least 1");
  const int n = shape.ndim;
  need(node, shape.size[n - 3] % uint64_t(r * r) == 0, "channels are not a multiple of the factor's square");
  const int64_t height = int64_t(shape.size[n - 2]), width = int64_t(shape.size[n - 1]), channels = int64_t(shape.size[n - 3]);
  View view;
  view.push(span(shape, 0, n - 3), channels * height * width);
  view.push(uint64_t(channels / (r * r)), r * r * height * width);
  view.push(uint64_t(height), width);
  view.push(uint64_t(r), r * height * width);
  view.push(uint64_t(width), 1);
  view.push(uint64_t(r), height * width);
  return view;
}

std::vector<Spec> infer_pixel_shuffle(const Node& node, const Specs& inputs, uint64_t) {
  pixel_view(node, inputs[0]->shape);
  const uint64_t r = uint64_t(node.integer("upscale_factor"));
  Spec out = *inputs[0];
  const int n = out.shape.ndim;
  out.shape.size[n - 3] /= r * r;
  out.shape.size[n - 2] *= r;
  out.shape.size[n - 1] *= r;
  return {out};
}

void pixel_shuffle(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  copy_any(pixel_view(node, inputs[0]->spec.shape), *inputs[0], *outputs[0]);
}

struct Repeat {
  Dims out;
  View view;
};

Repeat repeat(const Node& node, const Dims& shape) {
  const int64_t times = node.integer("repeats");
  need(node, times >= 0 && times < int64_t(1) << 31, "repeats of " + std::to_string(times));
  Dims from = shape;
  if (!node.has("dim")) {
    from = Dims();
    from.push(checked_numel(shape));
  }
  const int axis = node.has("dim") ? axis_of(node.integer("dim"), from.ndim) : 0;
  need(node, from.ndim > 0 && from.ndim < kMaxDims, "of a tensor without axes, or of 8");
  Repeat found;
  found.out = from;
  found.out.size[axis] *= uint64_t(times);
  const View plain = whole(from);
  for (int i = 0; i < from.ndim; ++i) {
    found.view.push(from.size[i], plain.stride[i]);
    if (i == axis) found.view.push(uint64_t(times), 0);
  }
  checked_numel(found.view.shape);
  return found;
}

std::vector<Spec> infer_repeat(const Node& node, const Specs& inputs, uint64_t) { return {{inputs[0]->dtype, repeat(node, inputs[0]->shape).out}}; }

void run_repeat(const Node& node, const Tensors& inputs, const Outputs& outputs, Pool&) {
  copy_any(repeat(node, inputs[0]->spec.shape).view, *inputs[0], *outputs[0]);
}

// ---- new shapes of the same bytes

std::vector<Spec> infer_reshape(const Node& node, const Specs& inputs, uint64_t) {
  const Dims& from = inputs[0]->shape;
  const std::vector<int64_t>& sizes = node.ints("shape");
  Spec out{inputs[0]->dtype, {}};
  int open = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    need(node, sizes[i] >= -1 && sizes[i] < int64_t(1) << 48, "a size of " + std::to_string(sizes[i]));
    need(node, sizes[i] != 0 || int(i) < from.ndim, "copies a size that is not there");
    need(node, sizes[i] != -1 || open < 0, "two sizes are open");
    if (sizes[i] == -1) open = int(i);
    out.shape.push(sizes[i] == -1 ? 1 : sizes[i] == 0 ? from.size[i] : uint64_t(sizes[i]));
  }
  const uint64_t known = checked_numel(out.shape), total = checked_numel(from);
  if (open >= 0) {
    need(node, known > 0 && total % known == 0, "no size fits the open axis");
    out.shape.size[open] = total / known;
  }
  need(node, checked_numel(out.shape) == total, str(total) + " elements do not fit the new shape");
  return {out};
}

std::vector<Spec> infer_flatten(const Node& node, const Specs& inputs, uint64_t) {
  const Dims& from = inputs[0]->shape;
  Spec out{inputs[0]->dtype, {}};
  if (from.ndim == 0) {
    out.shape.push(1);
    return {out};
  }
  const int start = axis_of(node.integer("start_dim"), from.ndim), end = axis_of(node.integer("end_dim"), from.ndim);
  need(node, start <= end, "its first axis comes after its last");
  for (int i = 0; i < start; ++i) out.shape.push(from.size[i]);
  out.shape.push(span(from, start, end + 1));
  for (int i = end + 1; i < from.ndim; ++i) out.shape.push(from.size[i]);
  return {out};
}

std::vector<Spec> infer_unsqueeze(const Node& node, const Specs& inputs, uint64_t) {
  const Dims& from = inputs[0]->shape;
  const int axis = axis_of(node.integer("dim"), from.ndim + 1);
  Spec out{inputs[0]->dtype, {}};
  for (int i = 0; i <= from.ndim; ++i) {
    if (i == axis) out.shape.push(1);
    if (i < from.ndim) out.shape.push(from.size[i]);
  }
  return {out};
}

std::vector<Spec> infer_squeeze(const Node& node, const Specs& inputs, uint64_t) {
  const Dims& from = inputs[0]->shape;
  unsigned goes = 0;
  for (int64_t dim : node.ints("dim")) goes |= 1u << axis_of(dim, from.ndim);
  Spec out{inputs[0]->dtype, {}};
  for (int i = 0; i < from.ndim; ++i) {
    if (!(goes >> i & 1) || from.size[i] != 1) out.shape.push(from.size[i]);
  }
  return {out};
}

}  // namespace

void add_view_rules(Rules& rules) {
  const Rules ours = {
      {72, true, infer_reshape, nullptr},
      {73, true, infer_flatten, nullptr},
      {74, true, infer_unsqueeze, nullptr},
      {75, true, infer_squeeze, nullptr},
      {76, false, infer_view<permute>, run_view<permute>},
      {77, false, infer_view<transpose>, run_view<transpose>},
      {78, false, infer_view<slice>, run_view<slice>},
      {79, false, infer_view<select>, run_view<select>},
      {80, false, infer_view<expanded>, run_expand},
      {82, false, infer_repeat, run_repeat},
      {83, false, infer_view<flip>, run_view<flip>},
      {85, false, infer_channel_shuffle, channel_shuffle},
      {86, false, infer_pixel_shuffle, pixel_shuffle},
  };
  rules.insert(rules.end(), ours.begin(), ours.end());
}

}  // namespace tersenet
