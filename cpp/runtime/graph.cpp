#include "tersenet/runtime/graph.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <unordered_set>

#include "tersenet/storage_tree.h"

namespace tersenet {
namespace {

constexpr uint64_t kMaxCount = 1000000;
constexpr size_t kMaxName = 1024;
constexpr uint64_t kNameCharacters = 32, kNameCharactersFree = 1 << 16;
constexpr int64_t kMaxInteger = int64_t(1) << 62;
constexpr int kDtypes = int(sizeof(kDtypeNames) / sizeof(*kDtypeNames));
constexpr const char* kSuffixes[] = {"", ".weight", ".bias", ".running_mean", ".running_var"};
constexpr uint64_t kMaxSide = 1 << 16;

bool is_utf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = uint8_t(text[i]);
    const int more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
    if (more < 0 || text.size() - i <= size_t(more)) return false;
    uint32_t point = more ? lead & (0x3f >> more) : lead;
    for (int k = 1; k <= more; ++k) {
      const uint8_t next = uint8_t(text[i + size_t(k)]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10ffff)) || (point >= 0xd800 && point < 0xe000)) return false;
    i += size_t(more) + 1;
  }
  return true;
}

// Words of ASCII letters, digits, _ and -, joined by dots, with single slashes inside.
void check_name(const std::string& name) {
  bool good = !name.empty() && name.size() <= kMaxName, inside = false;
  for (size_t i = 0; good && i < name.size(); ++i) {
    const char c = name[i];
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    good = word || ((c == '.' || c == '/') && inside && i + 1 < name.size());
    inside = word;
  }
  if (!good) refuse("'" + name.substr(0, 80) + "' is not a dotted name of letters, digits, _, - and inner slashes, at most 1024 long");
}

class Reader : public ByteCursor {
 public:
  using ByteCursor::ByteCursor;

  uint64_t count() {
    const uint64_t found = varint();
    if (found > kMaxCount || found > remaining()) refuse(str(found) + " entries declared at byte " + str(offset) + " with " + str(remaining()) + " bytes left");
    return found;
  }

  int64_t svarint() {
    const uint64_t code = varint();
    const int64_t value = int64_t(code >> 1) ^ -int64_t(code & 1);
    if (value <= -kMaxInteger || value >= kMaxInteger) refuse("an integer before byte " + str(offset) + " lies outside (-2^62, 2^62)");
    return value;
  }

  double f64() {
    const uint8_t* bytes = take(8);
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= uint64_t(bytes[i]) << 8 * i;
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  std::string text() {
    const uint64_t size = varint();
    const char* from = reinterpret_cast<const char*>(take(size));
    std::string found(from, size_t(size));
    if (!is_utf8(found)) refuse("the text before byte " + str(offset) + " is not UTF-8");
    return found;
  }

  bool truth() {
    const uint8_t byte = u8();
    if (byte > 1) refuse("a truth value of " + str(byte) + " at byte " + str(offset - 1) + "; 0 or 1 was expected");
    return byte != 0;
  }

  int dtype(int code) {
    if (code >= kDtypes) refuse("unknown dtype code " + std::to_string(code));
    return code;
  }
};

std::vector<int64_t> parse_ints(const std::string& text) {
  std::vector<int64_t> found;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    found.push_back(std::stoll(text.substr(at, end - at)));
    at = end + 1;
  }
  return found;
}

ArgumentValue fallback_of(const OpArgument& argument) {
  ArgumentValue value;
  if (argument.required || (argument.maybe && argument.fallback.empty())) return value;
  const std::string& text = argument.fallback;
  value.given = true;
  switch (argument.kind) {
    case 'i': value.integer = std::stoll(text); break;
    case 'I': value.ints = parse_ints(text); break;
    case 'f': value.real = std::stod(text); break;
    case 'n':
      value.is_float = text.find('.') != std::string::npos;
      if (value.is_float) value.real = std::stod(text); else value.integer = std::stoll(text);
      break;
    case 'b': value.integer = text == "True"; break;
    default: value.text = text;
  }
  if (!value.is_float && argument.kind == 'n') value.real = double(value.integer);
  return value;
}

bool equal(const ArgumentValue& a, const ArgumentValue& b) {
  return a.given == b.given && a.is_float == b.is_float && a.integer == b.integer && a.real == b.real && a.ints == b.ints && a.text == b.text;
}

class GraphReader {
 public:
  GraphReader(const uint8_t* data, size_t size) : in_(data, size) {}

  Graph read() {
    for (uint64_t i = in_.count(); i; --i) read_input();
    graph_.values = uint32_t(graph_.inputs.size());
    read_names();
    for (uint64_t i = in_.count(); i; --i) read_node();
    for (uint64_t i = in_.count(); i; --i) {
      const uint64_t back = in_.varint();
      if (back >= graph_.values) refuse("an output is not a value of the graph; there are " + str(graph_.values));
      std::string name = in_.text();
      graph_.outputs.push_back({std::move(name), uint32_t(graph_.values - 1 - back)});
    }
    skip_preprocess();
    if (in_.remaining()) refuse(str(in_.remaining()) + " bytes follow the end of the graph; expected none");
    return std::move(graph_);
  }

 private:
  Reader in_;
  Graph graph_;

  void read_input() {
    GraphInput input;
    input.name = in_.text();
    check_name(input.name);
    input.dtype = in_.dtype(in_.u8());
    const uint64_t dims = in_.count();
    if (dims >= uint64_t(kMaxDims)) refuse("input '" + input.name + "' has more than 7 sizes");
    for (uint64_t i = 0; i < dims; ++i) {
      input.shape.push_back(in_.varint());
      if (input.shape.back() >= uint64_t(1) << 31) refuse("input '" + input.name + "' has a size of 2^31 or more");
    }
    graph_.inputs.push_back(std::move(input));
  }

  void read_names() {
    std::unordered_set<std::string> seen;
    std::string before;
    uint64_t characters = kNameCharactersFree + kNameCharacters * (in_.offset + in_.remaining());
    for (uint64_t i = in_.count(); i; --i) {
      const uint8_t byte = in_.u8();
      const int suffix = byte & 7;
      const int dtype = in_.dtype(byte >> 4);
      const uint64_t shared = in_.varint();
      if (suffix > 4 || shared > before.size()) refuse("a tensor name before byte " + str(in_.offset) + " is not well formed");
      before = before.substr(0, size_t(shared)) + in_.text();
      std::string name = before + kSuffixes[suffix];
      if (name.size() > kMaxName || name.size() > characters) refuse("tensor name '" + name.substr(0, 80) + "' or the names up to it are too long");
      characters -= name.size();
      check_name(name);
      if (!seen.insert(name).second) refuse("tensor '" + name.substr(0, 80) + "' is declared twice");
      graph_.parameters.push_back({std::move(name), dtype});
    }
  }

  void read_node() {
    Node node;
    const uint8_t code = in_.u8();
    node.op = find_op(code);
    if (node.op == nullptr) refuse("unknown operation code " + str(code) + " at byte " + str(in_.offset - 1) + "; a newer tersenet may know it");
    int optional = 0;
    for (const OpArgument& argument : node.op->arguments) optional += !argument.required;
    const uint64_t given = optional ? in_.varint() : 0;
    if (given >> optional) refuse("operation " + node.op->name + " at byte " + str(in_.offset) + " claims arguments it does not have");
    int bit = 0;
    for (const OpArgument& argument : node.op->arguments) {
      const bool present = argument.required || (given >> bit & 1);
      const ArgumentValue fallback = fallback_of(argument);
      node.arguments.push_back(present ? read_argument(argument.kind) : fallback);
      if (!argument.required) {
        ++bit;
        const bool tensor = argument.kind == 'x' || argument.kind == '*';
        if (present && !tensor && equal(node.arguments.back(), fallback)) refuse("operation " + node.op->name + ": " + argument.name + " is given its default");
      }
    }
    node.first_output = graph_.values;
    graph_.values += uint32_t(node.op->outputs);
    graph_.nodes.push_back(std::move(node));
  }

  TensorRef read_ref() {
    const uint64_t code = in_.varint(), number = code >> 1;
    if (code & 1) {
      if (number >= graph_.parameters.size()) refuse("tensor number " + str(number) + " at byte " + str(in_.offset) + "; there are " + str(graph_.parameters.size()));
      return {true, uint32_t(number)};
    }
    if (number >= graph_.values) refuse("a node at byte " + str(in_.offset) + " refers to a value that does not come before it");
    return {false, uint32_t(graph_.values - 1 - number)};
  }

  ArgumentValue read_argument(char kind) {
    ArgumentValue value;
    value.given = true;
    switch (kind) {
      case 'x': value.refs.push_back(read_ref()); break;
      case '*':
        for (uint64_t i = in_.count(); i; --i) value.refs.push_back(read_ref());
        break;
      case 'i': value.integer = in_.svarint(); break;
      case 'I':
        for (uint64_t i = in_.count(); i; --i) value.ints.push_back(in_.svarint());
        break;
      case 'f': value.real = in_.f64(); break;
      case 'n':
        value.is_float = in_.truth();
        if (value.is_float) {
          value.real = in_.f64();
        } else {
          value.integer = in_.svarint();
          value.real = double(value.integer);
        }
        break;
      case 'b': value.integer = in_.truth(); break;
      default: value.text = in_.text();
    }
    return value;
  }

  // Nothing here needs it; it is checked so that both readers refuse the same files.
  void skip_preprocess() {
    const uint8_t flags = in_.u8();
    if (flags == 0) return;
    if (!(flags & 1) || (flags & 128)) refuse("preprocessing flags " + str(flags) + " at byte " + str(in_.offset - 1) + " are not known");
    if (flags & 2) in_.f64();
    for (int bit : {4, 8}) {
      if (!(flags & bit)) continue;
      for (uint64_t i = in_.count(); i; --i) in_.f64();
    }
    for (int bit : {32, 64}) {
      if ((flags & bit) && in_.varint() >= kMaxSide) refuse("a picture of a side of 65536 or more");
    }
  }
};

}  // namespace

const ArgumentValue& Node::get(const char* name) const {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (op->arguments[i].name == name) return arguments[i];
  }
  throw std::logic_error(op->name + " has no argument " + name);
}

std::vector<Node::Slot> Node::tensors() const {
  std::vector<Slot> slots;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const char kind = op->arguments[i].kind;
    if (kind != 'x' && kind != '*') continue;
    for (const TensorRef& ref : arguments[i].refs) slots.push_back({true, ref});
    if (kind == 'x' && arguments[i].refs.empty()) slots.push_back({false, {}});
  }
  return slots;
}

Graph read_graph(const uint8_t* data, size_t size) { return GraphReader(data, size).read(); }

}  // namespace tersenet
