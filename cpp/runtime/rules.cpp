#include "rules.h"

namespace tersenet {

const Rule* find_rule(int code) {
  static const Rules rules = [] {
    Rules all;
    for (auto add : {add_elementwise_rules, add_broadcast_rules, add_pool_rules, add_norm_rules, add_reduce_rules, add_view_rules, add_join_rules, add_matmul_rules, add_transposed_conv_rules}) add(all);
    std::sort(all.begin(), all.end(), [](const Rule& a, const Rule& b) { return a.code < b.code; });
    return all;
  }();
  const auto found = std::lower_bound(rules.begin(), rules.end(), code, [](const Rule& rule, int wanted) { return rule.code < wanted; });
  return found != rules.end() && found->code == code ? &*found : nullptr;
}

}  // namespace tersenet
