// storage_tree.h - the bytes of one tensor as a checked tree; nothing is decoded or allocated for it yet.
//
// The layout is spec/format.md section 4; tersenet/storage/{grammar,serial,memory}.py is the same in Python.
//
// READ FIRST
//   1. Every count is compared with what it must agree with here, so that the decoder can trust shapes:
//      numel fits 2^48, and each element is written exactly once.
//   2. What it cannot trust is what streams hold: indices and gaps. Those are checked where they are used.
//   3. A tree points into the bytes it was read from.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tersenet/refuse.h"

namespace tersenet {

enum StorageKind : uint8_t { kIntegers, kFloats, kAffine, kTable, kScatter, kSum, kConcat, kReshape, kPermute, kTransform };

constexpr int kMaxDims = 8;
constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxNumel = uint64_t(1) << 48;
constexpr uint64_t kMaxTransform = 64;
constexpr uint64_t kExactInFloat32 = uint64_t(1) << 24;
constexpr uint64_t kNodeBytes = 1024;   // as in memory.py, so that both readers refuse the same files
constexpr uint64_t kWorkPerByte = 32;
constexpr uint64_t kMaxBudget = uint64_t(1) << 58;  // times kWorkPerByte it fits 64 bits

struct Dims {
  int ndim = 0;
  uint64_t size[kMaxDims] = {};

  void push(uint64_t one) {
    if (ndim == kMaxDims) refuse("a shape of more than 8 dimensions; at most 8 can be stored");
    size[ndim++] = one;
  }

  bool operator==(const Dims& other) const {
    return ndim == other.ndim && std::equal(size, size + ndim, other.size);
  }
};

// The one place where sizes are multiplied.
inline uint64_t checked_numel(const Dims& shape) {
  uint64_t spanned = 1;
  bool empty = false;
  for (int i = 0; i < shape.ndim; ++i) {
    const uint64_t size = std::max<uint64_t>(shape.size[i], 1);
    empty = empty || shape.size[i] == 0;
    if (size > kMaxNumel / spanned) refuse("a shape spans more than 2^48 elements, which is the most that can be stored");
    spanned *= size;
  }
  return empty ? 0 : spanned;
}

struct StorageNode {
  StorageKind kind;
  uint8_t variant;      // coder, float flags, bitmask or axis
  bool is_float;
  uint8_t item;         // bytes of a decoded element
  Dims shape;
  uint64_t numel;
  uint64_t alphabet;    // kIntegers: its own; other nodes of integers: the largest below
  uint64_t beside;      // the most that decoding holds beside the result
  const uint8_t* data;  // leaves: the payload
  size_t size;
  uint8_t axes[kMaxDims];
  std::vector<uint32_t> children;

  uint64_t bytes() const { return numel * item; }          // numel <= 2^48: no overflow
  uint64_t working() const { return bytes() + beside; }
};

struct StorageBudget {
  uint64_t max_bytes, max_work_bytes;
  uint64_t used_bytes = 0, work_bytes = 0;

  StorageBudget(uint64_t max, uint64_t meant)
      : max_bytes(std::min(max, kMaxBudget)), max_work_bytes(std::min(meant, kMaxBudget) * kWorkPerByte) {}

  // Each term is below 2^57 (32 levels of three arrays of 2^50) and each limit at most 2^63, so that sums stay
  // inside 64 bits: they are compared after every addition.
  void charge(uint64_t bytes) { used_bytes += bytes; peak(0); }

  void peak(uint64_t bytes) const {
    if (used_bytes + bytes > max_bytes) {
      refuse("decoding needs " + str(used_bytes + bytes) + " bytes, above the limit of " + str(max_bytes) +
             "; pass a larger max_bytes if the file is trusted");
    }
  }

  void work(uint64_t bytes) {
    work_bytes += bytes;
    if (work_bytes > max_work_bytes) {
      refuse("decoding writes " + str(work_bytes) + " bytes; at most " + str(max_work_bytes) +
             " are expected of a file that is not made to waste time");
    }
  }
};

class ByteCursor {
 public:
  // apart   where payloads come from, if not from `data`
  ByteCursor(const uint8_t* data, size_t size, ByteCursor* apart = nullptr) : data_(data), size_(size), apart_(apart) {}

  size_t offset = 0;

  size_t remaining() const { return size_ - offset; }

  uint8_t u8() { return *take(1); }

  // LEB128 below 2^64 in its shortest spelling.
  uint64_t varint() {
    uint64_t value = 0;
    for (int index = 0; index < 10; ++index) {
      const uint8_t byte = u8();
      if (index == 9 && byte > 1) refuse("byte " + str(offset - 10) + ": a varint is above 2^64 - 1");
      value |= uint64_t(byte & 0x7f) << 7 * index;
      if (byte < 0x80) {
        if (byte == 0 && index) refuse("byte " + str(offset - 1) + ": a varint is spelled with needless bytes");
        return value;
      }
    }
    refuse("byte " + str(offset) + ": a varint is longer than 10 bytes");
  }

  const uint8_t* take(uint64_t count) {
    if (count > remaining()) {
      refuse("byte " + str(offset) + ": " + str(count) + " bytes are needed, " + str(remaining()) + " remain; the data is cut or wrong");
    }
    const uint8_t* from = data_ + offset;
    offset += size_t(count);
    return from;
  }

  // The bytes of n numbers; one number is a field like others.
  const uint8_t* payload(uint64_t count, uint64_t n) { return apart_ && n > 1 ? apart_->take(count) : take(count); }

 private:
  const uint8_t* data_;
  size_t size_;
  ByteCursor* apart_;
};

class StorageTree {
 public:
  std::vector<StorageNode> nodes;
  uint32_t root = 0;

  const StorageNode& top() const { return nodes[root]; }

  // Reads the whole of `data`; the budget has room for what decoding needs beside the result.
  static StorageTree parse(const uint8_t* data, size_t size, StorageBudget& budget) {
    ByteCursor in(data, size);
    StorageTree tree = parse(in, budget);
    if (in.remaining()) refuse(str(in.remaining()) + " bytes follow the end of the tensor; expected none");
    return tree;
  }

  static StorageTree parse(ByteCursor& in, StorageBudget& budget) {
    StorageTree tree;
    tree.root = tree.read(in, budget, kMaxDepth);
    budget.peak(tree.top().beside);
    return tree;
  }

  // The trees of a weights section, one for each of `count` tensors: each behind its length, or where payloads lie apart
  // one after the other. named(i) says what a refusal is about; after(i, tree) sees each.
  template <class Named, class After>
  static void parse_all(const uint8_t* data, size_t size, ByteCursor* apart, size_t count, StorageBudget& budget, const Named& named,
                        const After& after) {
    ByteCursor in(data, size, apart);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t length = apart ? 0 : in.varint();
      const uint8_t* from = in.take(length);
      StorageTree tree;
      try {
        tree = apart ? parse(in, budget) : parse(from, size_t(length), budget);
      } catch (const std::invalid_argument& error) {
        refuse(named(i) + ": " + error.what());
      }
      after(i, std::move(tree));
    }
    if (in.remaining()) refuse(str(in.remaining()) + " bytes follow the last tensor; expected none");
    if (apart && apart->remaining()) refuse(str(apart->remaining()) + " bytes of payload follow the last tensor; expected none");
  }

 private:
  static void need(bool condition, const char* sentence) {
    if (!condition) refuse(sentence);
  }

  uint32_t add(StorageNode&& node) {
    need(nodes.size() < 0xffffffff, "more than 2^32 storage nodes");
    nodes.push_back(std::move(node));
    return uint32_t(nodes.size() - 1);
  }

  const StorageNode& child(const StorageNode& node, size_t i) const { return nodes[node.children[i]]; }

  uint32_t read(ByteCursor& in, StorageBudget& budget, int depth) {
    if (depth == 0) refuse("byte " + str(in.offset) + ": storage nested deeper than 32");
    const size_t start = in.offset;
    const uint8_t tag = in.u8();
    budget.charge(kNodeBytes);
    StorageNode node{};
    node.kind = StorageKind(tag & 15);
    node.variant = tag >> 4;
    static const int kVariants[] = {16, 4, 1, 1, 2, 1, kMaxDims, kMaxDims + 1, kMaxDims + 1, 3};
    if ((tag & 15) > kTransform || node.variant >= kVariants[node.kind]) {
      refuse("byte " + str(start) + ": unknown storage node " + str(tag & 15) + " of variant " + str(node.variant));
    }
    if (node.kind == kIntegers) return read_integers(in, budget, std::move(node));
    if (node.kind == kFloats) return read_floats(in, budget, std::move(node));
    uint64_t size = 0;
    if (node.kind == kScatter) {
      size = in.varint();
      need(size <= kMaxNumel, "a scatter of more than 2^48 places");
    }
    if (node.kind == kReshape) {
      for (int i = 0; i < node.variant; ++i) node.shape.push(in.varint());
      checked_numel(node.shape);
    }
    if (node.kind == kPermute) {
      for (int i = 0; i < node.variant; ++i) node.axes[i] = in.u8();
    }
    uint64_t count = node.kind == kAffine ? 3 : node.kind == kTable || node.kind == kScatter ? 2 : 1;
    if (node.kind == kSum || node.kind == kConcat) {
      count = in.varint();
      need(count >= 1, "a sum or concat of no parts");
      need(count <= in.remaining(), "more parts are declared than bytes are left");
    }
    for (uint64_t i = 0; i < count; ++i) {
      const uint32_t below = read(in, budget, depth - 1);
      node.children.push_back(below);
    }
    for (uint32_t below : node.children) {
      if (!nodes[below].is_float) node.alphabet = std::max(node.alphabet, nodes[below].alphabet);
    }
    switch (node.kind) {
      case kAffine: affine(node); break;
      case kTable: table(node); break;
      case kScatter: scatter(node, size); break;
      case kSum: sum(node); break;
      case kConcat: concat(node); break;
      case kReshape: reshape(node); break;
      case kPermute: permute(node); break;
      default: transform(node); break;
    }
    if (node.kind != kReshape) budget.work(node.numel * 4);
    return add(std::move(node));
  }

  uint32_t read_integers(ByteCursor& in, StorageBudget& budget, StorageNode&& node) {
    need(node.variant <= 3, "an unknown coder; this build knows 0 (raw), 1 (huffman), 2 (rans) and 3 (range)");
    node.alphabet = in.varint();
    need(node.alphabet < uint64_t(1) << 32, "an alphabet above 2^32");
    node.alphabet += 1;
    need(node.variant == 0 || node.alphabet <= 65536, "an alphabet above 65536, which only raw takes");
    node.item = node.alphabet <= 256 ? 1 : node.alphabet <= 65536 ? 2 : 4;
    node.shape.push(in.varint());
    node.numel = checked_numel(node.shape);
    budget.work(node.bytes());
    node.size = size_t(in.varint());
    node.data = in.payload(node.size, node.numel);
    return add(std::move(node));
  }

  // variant bit 0: float16, bit 1: byte planes, each a stream of integers.
  uint32_t read_floats(ByteCursor& in, StorageBudget& budget, StorageNode&& node) {
    const uint64_t item = node.variant & 1 ? 2 : 4;
    node.is_float = true;
    node.item = 4;
    node.shape.push(in.varint());
    node.numel = checked_numel(node.shape);
    budget.work(node.bytes());
    if (!(node.variant & 2)) {
      node.size = size_t(node.numel * item);
      node.data = in.payload(node.numel * item, node.numel);
      return add(std::move(node));
    }
    for (uint64_t k = 0; k < item; ++k) {
      const uint8_t tag = in.u8();
      need((tag & 15) == kIntegers, "a byte plane is not a stream of integers");
      StorageNode plane{};
      plane.kind = kIntegers;
      plane.variant = tag >> 4;
      const uint32_t below = read_integers(in, budget, std::move(plane));
      need(nodes[below].alphabet == 256 && nodes[below].numel == node.numel, "a byte plane of another length or alphabet");
      node.children.push_back(below);
    }
    node.beside = node.numel;
    return add(std::move(node));
  }

  // Children decoded one after the other, each result kept.
  void hold_all(StorageNode& node) const {
    uint64_t held = 0;
    for (uint32_t below : node.children) {
      node.beside = std::max(node.beside, held + nodes[below].working());
      held += nodes[below].bytes();
    }
  }

  void hold_largest(StorageNode& node, size_t from) const {
    for (size_t i = from; i < node.children.size(); ++i) node.beside = std::max(node.beside, child(node, i).working());
  }

  void affine(StorageNode& node) const {
    const StorageNode &levels = child(node, 0), &zero = child(node, 1), &step = child(node, 2);
    need(!levels.is_float && !zero.is_float && step.is_float, "affine takes int levels, int zero points and float steps");
    need(levels.alphabet <= kExactInFloat32 && zero.alphabet <= kExactInFloat32, "affine levels and zero points lie below 2^24");
    need(step.shape.ndim == 1 && step.numel >= 1, "an affine step is 1-D and not empty");
    need(levels.numel % step.numel == 0, "the levels do not fall into equal runs, one for each step");
    need(zero.shape.ndim == 1 && (zero.numel == 1 || zero.numel == step.numel), "an affine has one zero point, or one for each step");
    node.shape = levels.shape;
    node.numel = levels.numel;
    node.is_float = true;
    node.item = 4;
    hold_all(node);
  }

  void table(StorageNode& node) const {
    const StorageNode &entries = child(node, 0), &index = child(node, 1);
    need(!index.is_float, "a table's index holds ints");
    need(entries.shape.ndim >= 1, "a table's entries need at least one dimension");
    node.shape = index.shape;
    for (int i = 1; i < entries.shape.ndim; ++i) node.shape.push(entries.shape.size[i]);
    node.numel = checked_numel(node.shape);
    node.is_float = entries.is_float;
    node.item = entries.item;
    hold_all(node);
  }

  void scatter(StorageNode& node, uint64_t size) const {
    const StorageNode &position = child(node, 0), &values = child(node, 1);
    need(position.kind == kIntegers, "scatter positions are a stream of integers");
    need(values.shape.ndim >= 1, "scattered values need at least one dimension");
    if (node.variant) {
      need(position.numel == size && position.alphabet == 2, "a bitmask has a value of alphabet 2 for each place");
    } else {
      need(position.alphabet >= 2, "gaps need an alphabet of at least 2");
    }
    need(values.shape.size[0] <= size, "more blocks are scattered than there are places");
    node.shape = values.shape;
    node.shape.size[0] = size;
    node.numel = checked_numel(node.shape);
    node.is_float = values.is_float;
    node.item = values.item;
    hold_all(node);
  }

  void sum(StorageNode& node) const {
    const StorageNode& first = child(node, 0);
    for (size_t i = 0; i < node.children.size(); ++i) {
      need(child(node, i).is_float, "each part of a sum holds floats");
      need(child(node, i).shape == first.shape, "the parts of a sum differ in shape");
    }
    node.shape = first.shape;
    node.numel = first.numel;
    node.is_float = true;
    node.item = 4;
    node.beside = first.beside;
    hold_largest(node, 1);
  }

  void concat(StorageNode& node) const {
    const StorageNode& first = child(node, 0);
    const int axis = node.variant;
    need(axis < first.shape.ndim, "a concat's axis is not one of its parts'");
    node.shape = first.shape;
    node.shape.size[axis] = 0;
    for (size_t i = 0; i < node.children.size(); ++i) {
      const StorageNode& part = child(node, i);
      Dims rest = part.shape, wanted = first.shape;
      need(rest.ndim == wanted.ndim && part.is_float == first.is_float, "the parts of a concat differ in kind or dimensions");
      rest.size[axis] = wanted.size[axis] = 0;
      need(rest == wanted, "the parts of a concat differ beside its axis");
      node.shape.size[axis] += part.shape.size[axis];
      need(node.shape.size[axis] <= kMaxNumel, "a concat of more than 2^48 elements");
      node.item = std::max(node.item, part.item);
    }
    node.numel = checked_numel(node.shape);
    node.is_float = first.is_float;
    hold_largest(node, 0);
  }

  void reshape(StorageNode& node) const {
    const StorageNode& source = child(node, 0);
    node.numel = checked_numel(node.shape);
    need(node.numel == source.numel, "a reshape to another number of elements");
    node.is_float = source.is_float;
    node.item = source.item;
    node.beside = source.beside;
  }

  void permute(StorageNode& node) const {
    const StorageNode& source = child(node, 0);
    unsigned seen = 0;
    for (int i = 0; i < node.variant; ++i) {
      need(node.axes[i] < source.shape.ndim, "a permute's axes are not an order of its source's");
      seen |= 1u << node.axes[i];
    }
    need(node.variant == source.shape.ndim && seen == (1u << source.shape.ndim) - 1, "a permute's axes are not an order of its source's");
    for (int i = 0; i < node.variant; ++i) node.shape.push(source.shape.size[node.axes[i]]);
    node.numel = source.numel;
    node.is_float = source.is_float;
    node.item = source.item;
    hold_largest(node, 0);
  }

  void transform(StorageNode& node) const {
    const StorageNode& source = child(node, 0);
    need(source.is_float, "a transform's source holds floats");
    need(node.variant >= 1 && node.variant <= source.shape.ndim, "a transform of 1 or 2 axes that are there");
    for (int i = source.shape.ndim - node.variant; i < source.shape.ndim; ++i) {
      need(source.shape.size[i] >= 1 && source.shape.size[i] <= kMaxTransform, "transformed axes have 1 to 64 elements");
    }
    node.shape = source.shape;
    node.numel = source.numel;
    node.is_float = true;
    node.item = 4;
    node.beside = source.beside;
  }
};

}  // namespace tersenet
