#include "tersenet/runtime/ops.h"

#include <algorithm>

namespace tersenet {
namespace {
struct Row {
  int code;
  const char* name;
  const char* arguments;
  int outputs;
};

constexpr Row kRows[] = {
    {0, "linear", "input:x weight:x bias:x?", 1},
    {1, "conv1d", "input:x weight:x bias:x? stride:I=1 padding:I=0 dilation:I=1 groups:i=1", 1},
    {2, "conv2d", "input:x weight:x bias:x? stride:I=1,1 padding:I=0,0 dilation:I=1,1 groups:i=1", 1},
    {3, "conv_transpose2d", "input:x weight:x bias:x? stride:I=1,1 padding:I=0,0 output_padding:I=0,0 groups:i=1 dilation:I=1,1", 1},
    {4, "batch_norm", "input:x weight:x? bias:x? running_mean:x? running_var:x? momentum:f=0.1 eps:f=1e-05", 1},
    {5, "layer_norm", "input:x normalized_shape:I weight:x? bias:x? eps:f=1e-05", 1},
    {6, "group_norm", "input:x num_groups:i weight:x? bias:x? eps:f=1e-05", 1},
    {7, "rms_norm", "input:x normalized_shape:I weight:x? eps:f?", 1},
    {8, "embedding", "weight:x indices:x padding_idx:i=-1", 1},
    {9, "lstm_cell", "input:x hx:x* w_ih:x w_hh:x b_ih:x? b_hh:x?", 2},
    {10, "relu", "self:x", 1},
    {11, "hardtanh", "self:x min_val:n=-1 max_val:n=1", 1},
    {12, "relu6", "self:x", 1},
    {13, "sigmoid", "self:x", 1},
    {14, "tanh", "self:x", 1},
    {15, "gelu", "self:x approximate:s=none", 1},
    {16, "silu", "self:x", 1},
    {17, "hardswish", "self:x", 1},
    {18, "hardsigmoid", "self:x", 1},
    {19, "leaky_relu", "self:x negative_slope:n=0.01", 1},
    {20, "elu", "self:x alpha:n=1 scale:n=1 input_scale:n=1", 1},
    {21, "softplus", "self:x beta:n=1 threshold:n=20", 1},
    {22, "mish", "self:x", 1},
    {23, "softmax", "self:x dim:i", 1},
    {24, "log_softmax", "self:x dim:i", 1},
    {25, "dropout", "input:x p:f=0.5", 1},
    {26, "prelu", "self:x weight:x", 1},
    {30, "max_pool1d", "self:x kernel_size:I stride:I= padding:I=0 dilation:I=1 ceil_mode:b=False", 1},
    {31, "max_pool2d", "self:x kernel_size:I stride:I= padding:I=0,0 dilation:I=1,1 ceil_mode:b=False", 1},
    {32, "avg_pool1d", "self:x kernel_size:I stride:I= padding:I=0 ceil_mode:b=False count_include_pad:b=True", 1},
    {33, "avg_pool2d", "self:x kernel_size:I stride:I= padding:I=0,0 ceil_mode:b=False count_include_pad:b=True divisor_override:i?", 1},
    {34, "avg_pool3d", "self:x kernel_size:I stride:I= padding:I=0,0,0 ceil_mode:b=False count_include_pad:b=True divisor_override:i?", 1},
    {35, "adaptive_avg_pool1d", "self:x output_size:I", 1},
    {36, "adaptive_avg_pool2d", "self:x output_size:I", 1},
    {37, "adaptive_max_pool2d", "self:x output_size:I", 2},
    {40, "add", "self:x other:x alpha:n=1", 1},
    {41, "sub", "self:x other:x alpha:n=1", 1},
    {42, "mul", "self:x other:x", 1},
    {43, "div", "self:x other:x", 1},
    {44, "add_scalar", "self:x other:n alpha:n=1", 1},
    {45, "sub_scalar", "self:x other:n alpha:n=1", 1},
    {46, "mul_scalar", "self:x other:n", 1},
    {47, "div_scalar", "self:x other:n", 1},
    {48, "rsub_scalar", "self:x other:n alpha:n=1", 1},
    {49, "neg", "self:x", 1},
    {50, "abs", "self:x", 1},
    {51, "pow_scalar", "self:x exponent:n", 1},
    {52, "sqrt", "self:x", 1},
    {53, "rsqrt", "self:x", 1},
    {54, "exp", "self:x", 1},
    {55, "log", "self:x", 1},
    {56, "sin", "self:x", 1},
    {57, "cos", "self:x", 1},
    {58, "clamp", "self:x min:n? max:n?", 1},
    {59, "maximum", "self:x other:x", 1},
    {60, "minimum", "self:x other:x", 1},
    {61, "matmul", "self:x other:x", 1},
    {62, "scaled_dot_product_attention", "query:x key:x value:x attn_mask:x? dropout_p:f=0.0 is_causal:b=False scale:f? enable_gqa:b=False", 1},
    {63, "mean", "self:x dim:I? keepdim:b=False", 1},
    {64, "sum", "self:x dim:I? keepdim:b=False", 1},
    {65, "amax", "self:x dim:I= keepdim:b=False", 1},
    {66, "masked_fill", "self:x mask:x value:n", 1},
    {67, "where", "condition:x self:x other:x", 1},
    {70, "cat", "tensors:x* dim:i=0", 1},
    {71, "stack", "tensors:x* dim:i=0", 1},
    {72, "reshape", "self:x shape:I", 1},
    {73, "flatten", "self:x start_dim:i=1 end_dim:i=-1", 1},
    {74, "unsqueeze", "self:x dim:i", 1},
    {75, "squeeze", "self:x dim:I", 1},
    {76, "permute", "self:x dims:I", 1},
    {77, "transpose", "self:x dim0:i dim1:i", 1},
    {78, "slice", "self:x dim:i=0 start:i? end:i? step:i=1", 1},
    {79, "select", "self:x dim:i index:i", 1},
    {80, "expand", "self:x size:I", 1},
    {81, "pad", "self:x pad:I mode:s=constant value:f?", 1},
    {82, "repeat_interleave", "self:x repeats:i dim:i?", 1},
    {83, "flip", "self:x dims:I", 1},
    {84, "to_float", "self:x", 1},
    {85, "channel_shuffle", "self:x groups:i", 1},
    {86, "pixel_shuffle", "self:x upscale_factor:i", 1},
    {87, "feature_dropout", "input:x p:f=0.5", 1},
    {88, "sign", "self:x", 1},
    {89, "fake_quantize", "self:x scale:f zero_point:i quant_min:i quant_max:i", 1},
};

OpArgument parse_argument(const std::string& word) {
  const size_t colon = word.find(':'), equals = word.find('=');
  const std::string kind = word.substr(colon + 1, equals == std::string::npos ? equals : equals - colon - 1);
  OpArgument made;
  made.name = word.substr(0, colon);
  made.kind = kind == "x*" ? '*' : kind[0];
  made.maybe = kind.back() == '?';
  made.required = !made.maybe && equals == std::string::npos;
  if (equals != std::string::npos) made.fallback = word.substr(equals + 1);
  return made;
}

std::vector<OpInfo> parse_rows() {
  std::vector<OpInfo> ops;
  for (const Row& row : kRows) {
    OpInfo op{row.code, row.name, {}, row.outputs};
    const std::string text = row.arguments;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(' ', at), text.size());
      op.arguments.push_back(parse_argument(text.substr(at, end - at)));
      at = end + 1;
    }
    ops.push_back(std::move(op));
  }
  return ops;
}

}  // namespace

const std::vector<OpInfo>& all_ops() {
  static const std::vector<OpInfo> ops = parse_rows();
  return ops;
}

const OpInfo* find_op(int code) {
  for (const OpInfo& op : all_ops()) {
    if (op.code == code) return &op;
  }
  return nullptr;
}

}  // namespace tersenet
