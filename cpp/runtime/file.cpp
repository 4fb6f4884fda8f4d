#include "tersenet/runtime/file.h"

#include <algorithm>
#include <cstring>

#include "tersenet/cpu.h"
#include "tersenet/crc32.h"
#include "tersenet/targets.h"

namespace tersenet {
namespace {

constexpr uint8_t kMagic[] = {0x89, 't', 'e', 'r', 's', 'e'};
constexpr int kVersion = 1, kMaxSections = 16;
constexpr int kGraph = 1, kWeights = 2;
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

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  static const Crc32Tables tables;
  uint32_t state = 0xffffffffu;
#if defined(TERSENET_AVX2)
  if (const Cpu cpu = cpu_chosen(); cpu >= Cpu::avx2 && cpu != Cpu::neon) {
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
  const int version = data[6], count = data[7];
  const size_t header = kPrefixBytes + kEntryBytes * size_t(count) + 4;
  if (count <= kMaxSections && size < header) refuse("section header is cut: " + str(header) + " bytes are needed, " + str(size) + " are there");
  if (count > kMaxSections || crc32(data, header - 4) != little(data + header - 4, 4)) refuse("section header is damaged: its checksum does not match");
  if (version != kVersion) refuse("section header: the file has format version " + std::to_string(version) + "; this build reads version 1");
  TerseFile file;
  file.decoded_bytes = little(data + 8, 8);
  if (file.decoded_bytes > max_bytes) {
    refuse("section header declares " + str(file.decoded_bytes) + " decoded bytes, above the limit of " + str(max_bytes) + "; pass a larger max_bytes if the file is trusted");
  }
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
  if (sections[kGraph].size > (std::min(max_bytes, uint64_t(1) << 62) + kSmallBytes) / kGraphCost) {
    refuse("section graph: its " + str(sections[kGraph].size) + " bytes can need 400 times as much memory, above the limit of " + str(max_bytes));
  }
  try {
    file.graph = read_graph(sections[kGraph].data, sections[kGraph].size);
  } catch (const std::invalid_argument& error) {
    refuse(std::string("section graph: ") + error.what());
  }
  StorageBudget budget(kIntermediate * std::min(file.decoded_bytes, kMaxBudget / kIntermediate) + kSmallBytes, file.decoded_bytes + kSmallBytes);
  ByteCursor in(sections[kWeights].data, sections[kWeights].size);
  uint64_t total = 0;
  for (const GraphParameter& parameter : file.graph.parameters) {
    const uint64_t length = in.varint();
    const uint8_t* from = in.take(length);
    try {
      file.tensors.push_back(StorageTree::parse(from, size_t(length), budget));
    } catch (const std::invalid_argument& error) {
      refuse("section weights: " + parameter.name + ": " + error.what());
    }
    const StorageNode& top = file.tensors.back().top();
    if (top.is_float != (std::strstr(kDtypeNames[parameter.dtype], "float") != nullptr)) {
      refuse("section weights: tensor '" + parameter.name + "' is declared " + kDtypeNames[parameter.dtype] + " but stored otherwise");
    }
    total += 4 * top.numel;
    if (total > file.decoded_bytes) refuse("section weights: tensor '" + parameter.name + "' brings the decoded size above the " + str(file.decoded_bytes) + " bytes declared");
  }
  if (in.remaining()) refuse("section weights: " + str(in.remaining()) + " bytes follow the last tensor; expected none");
  if (total != file.decoded_bytes) refuse("section weights: the tensors decode to " + str(total) + " bytes; the header declares " + str(file.decoded_bytes));
  return file;
}

}  // namespace tersenet
