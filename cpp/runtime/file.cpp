#include "tersenet/runtime/file.h"

#include <algorithm>
#include <cstring>

#include "tersenet/byte_model.h"
#include "tersenet/cpu.h"
#include "tersenet/crc32.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr uint8_t kMagic[] = {0x89, 't', 'e', 'r', 's', 'e'};
constexpr int kPlain = 1, kPacked = 2, kMaxSections = 16;
constexpr int kGraph = 1, kWeights = 2;
constexpr size_t kCheckedFrom = 11;
constexpr size_t kPrefixBytes = 16, kEntryBytes = 12;
constexpr uint64_t kSmallBytes = uint64_t(1) << 20, kIntermediate = 8, kGraphCost = 400;

uint64_t little(const uint8_t* data, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t(data[i]) << 8 * i;
  return value;
}

const char* section_name(int kind) {
  return kind == kGraph ? "graph" : kind == kWeights ? "weights" : kind == 3 ? "provenance" : "(unknown)";
}

struct Section {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// What a file is made of, of either version; `packed` if there is a payload.
struct Sections {
  Section graph, weights, payload;
  bool packed = false;
};

void check_decoded(uint64_t decoded_bytes, uint64_t max_bytes) {
  if (decoded_bytes > max_bytes) {
    refuse("section header declares " + str(decoded_bytes) + " decoded bytes, above the limit of " + str(max_bytes) + "; pass a larger max_bytes if the file is trusted");
  }
}

void check_graph(uint64_t size, uint64_t max_bytes) {
  if (size > (std::min(max_bytes, uint64_t(1) << 62) + kSmallBytes) / kGraphCost) {
    refuse("section graph: its " + str(size) + " bytes can need 400 times as much memory, above the limit of " + str(max_bytes));
  }
}

Sections split_plain(TerseFile& file, const uint8_t* data, size_t size, uint64_t max_bytes) {
  const int version = data[6], count = data[7];
  const size_t header = kPrefixBytes + kEntryBytes * size_t(count) + 4;
  if (count <= kMaxSections && size < header) refuse("section header is cut: " + str(header) + " bytes are needed, " + str(size) + " are there");
  if (count > kMaxSections || crc32(data, header - 4) != little(data + header - 4, 4)) refuse("section header is damaged: its checksum does not match");
  if (version != kPlain) refuse("section header: the file has format version " + std::to_string(version) + "; this build reads versions 1 and 2");
  file.decoded_bytes = little(data + 8, 8);
  check_decoded(file.decoded_bytes, max_bytes);
  Section sections[256];
  bool seen[256] = {};
  size_t start = header;
  for (int i = 0; i < count; ++i) {
    const uint8_t* entry = data + kPrefixBytes + kEntryBytes * size_t(i);
    const uint64_t word = little(entry, 8), length = word >> 8;
    const int kind = int(word & 255);
    const std::string name = section_name(kind);
    if (seen[kind]) refuse("section " + name + " is there twice");
    seen[kind] = true;
    if (length > size - start) refuse("section " + name + " is cut: " + str(length) + " bytes from byte " + str(start) + ", the file ends at " + str(size));
    if (crc32(data + start, size_t(length)) != little(entry + 8, 4)) refuse("section " + name + " is damaged: its checksum does not match");
    sections[kind] = {data + start, size_t(length)};
    start += size_t(length);
  }
  if (start != size) refuse(str(size - start) + " bytes follow the last section; expected none");
  for (int kind : {kGraph, kWeights}) {
    if (!seen[kind]) refuse(std::string("section ") + section_name(kind) + " is missing");
  }
  check_graph(sections[kGraph].size, max_bytes);
  Sections found;
  found.graph = sections[kGraph];
  found.weights = sections[kWeights];
  return found;
}

Sections split_packed(TerseFile& file, const uint8_t* data, size_t size, uint64_t max_bytes) {
  const uint8_t* from = data + kCheckedFrom;
  if (crc32(from, size - kCheckedFrom) != little(from - 4, 4)) refuse("section header is cut or damaged, or what follows it is: the checksum does not match");
  ByteCursor in(from, size - kCheckedFrom);
  const uint64_t elements = in.varint(), graph = in.varint(), weights = in.varint(), packed = in.varint(), provenance = in.varint();
  if (elements >> 62) refuse("section header declares " + str(elements) + " elements, above the limit of " + str(max_bytes) + " bytes");
  file.decoded_bytes = 4 * elements;
  check_decoded(file.decoded_bytes, max_bytes);
  check_graph(graph, max_bytes);
  // A node takes less than 80 bytes of it and is charged 1 KiB of 8 D + 1 MiB, so no file that can be read has more.
  if (weights > std::min(file.decoded_bytes, uint64_t(1) << 62) + kSmallBytes) {
    refuse("section weights: a structure of " + str(weights) + " bytes is declared for " + str(file.decoded_bytes) + " decoded bytes, above the limit of 1 MiB more");
  }
  const size_t left = in.remaining();
  if (packed > left || provenance > left - packed) {
    refuse("section header declares " + str(packed) + " packed bytes and " + str(provenance) + " of provenance, where " + str(left) + " bytes are left");
  }
  const uint8_t* at = in.take(packed);
  try {
    file.unpacked = unpack_bytes(at, size_t(packed), graph + weights);
  } catch (const std::invalid_argument& error) {
    refuse(std::string("section graph: ") + error.what());
  }
  Sections found;
  found.graph = {file.unpacked.data(), size_t(graph)};
  found.weights = {file.unpacked.data() + graph, size_t(weights)};
  found.payload = {at + packed, size_t(left - packed - provenance)};
  found.packed = true;
  return found;
}

// The trees of all tensors, compared with what the graph and the header declare.
void read_weights(TerseFile& file, const Sections& found, StorageBudget& budget) {
  const std::vector<GraphParameter>& parameters = file.graph.parameters;
  ByteCursor apart(found.payload.data, found.payload.size);
  uint64_t total = 0;
  StorageTree::parse_all(found.weights.data, found.weights.size, found.packed ? &apart : nullptr, parameters.size(), budget,
                         [&](size_t i) { return parameters[i].name; },
                         [&](size_t i, StorageTree&& tree) {
                           const StorageNode& top = tree.top();
                           const char* dtype = kDtypeNames[parameters[i].dtype];
                           if (top.is_float != (std::strstr(dtype, "float") != nullptr)) {
                             refuse("tensor '" + parameters[i].name + "' is declared " + dtype + " but stored otherwise");
                           }
                           total += 4 * top.numel;
                           if (total > file.decoded_bytes) {
                             refuse("tensor '" + parameters[i].name + "' brings the decoded size above the " + str(file.decoded_bytes) + " bytes declared");
                           }
                           file.tensors.push_back(std::move(tree));
                         });
  if (total != file.decoded_bytes) refuse("the tensors decode to " + str(total) + " bytes; the header declares " + str(file.decoded_bytes));
}

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  static const Crc32Tables tables;
  uint32_t state = 0xffffffffu;
#if defined(TERSENET_AVX2)
  if (const Cpu cpu = cpu_chosen(); cpu != Cpu::scalar) {
    uint8_t folded[16];
    if (const size_t taken = crc32_fold_avx2(state, data, size, folded)) {
      state = tables.after(0, folded, sizeof folded);
      data += taken;
      size -= taken;
    }
  }
#endif
  return ~tables.after(state, data, size);
}

uint64_t default_limit(uint64_t file_bytes) {
  const uint64_t most = uint64_t(16) << 30;
  return std::max<uint64_t>(uint64_t(64) << 20, file_bytes > most / 1000 ? most : 1000 * file_bytes);
}

TerseFile read_terse(const uint8_t* data, size_t size, uint64_t max_bytes) {
  if (size < kPrefixBytes || std::memcmp(data, kMagic, sizeof kMagic) != 0) refuse("section header is damaged or cut, or this is not a .terse file");
  TerseFile file;
  const Sections found = (data[6] == kPacked ? split_packed : split_plain)(file, data, size, max_bytes);
  try {
    file.graph = read_graph(found.graph.data, found.graph.size);
  } catch (const std::invalid_argument& error) {
    refuse(std::string("section graph: ") + error.what());
  }
  StorageBudget budget(kIntermediate * std::min(file.decoded_bytes, kMaxBudget / kIntermediate) + kSmallBytes, file.decoded_bytes + kSmallBytes);
  try {
    read_weights(file, found, budget);
  } catch (const std::invalid_argument& error) {
    refuse(std::string("section weights: ") + error.what());
  }
  return file;
}

}  // namespace tersenet
