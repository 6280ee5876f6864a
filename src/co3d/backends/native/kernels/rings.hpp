// Ring buffers of state in blocks of memory; see co3d/backends/native/exchange.py and state.py.
#pragma once

#include <cstdint>
#include <vector>

// The block plan of a step graph, for any slot. Blocks are numbered: first a worker's spare blocks,
// then the oldest elements of the states that are updated.
struct Exchange {
  int32_t states, updates, spares;
  const int32_t* depths;         // per state: its elements
  const int32_t* places;         // per element, by age: its index in the table; -1: it is not read
  const int32_t* updated;        // per update: the state,
  const int32_t* firsts;         //   the index of that state's first element,
  const int32_t* newest_places;  //   the place of its newest element; -1: no kernel writes it,
  const int32_t* targets;        //   and the block that it is written to
  const int32_t* spares_after;   // per spare block: the block that replaces it
};

// The elements of a slot: their addresses, state by state, and per state the index of the newest.
struct Elements {
  void** blocks;
  int32_t* heads;

  int32_t find_oldest(const Exchange& plan, int32_t update) const {
    const int32_t state = plan.updated[update];
    return plan.firsts[update] + (heads[state] == 0 ? plan.depths[state] : heads[state]) - 1;
  }

  void* find(const Exchange& plan, void* const* spares, int32_t block) const {
    return block < plan.spares ? spares[block] : blocks[find_oldest(plan, block - plan.spares)];
  }
};

// Write the addresses of a slot's elements to the table.
inline void bind_elements(void** table, const Exchange& plan, const Elements& slot,
                          void* const* spares) {
  const int32_t* places = plan.places;
  void* const* blocks = slot.blocks;
  for (int32_t i = 0; i < plan.states; ++i) {
    const int32_t depth = plan.depths[i];
    for (int32_t age = 0, at = slot.heads[i]; age < depth; ++age) {
      if (places[age] >= 0) table[places[age]] = blocks[at];
      if (++at == depth) at = 0;
    }
    places += depth, blocks += depth;
  }
  for (int32_t u = 0; u < plan.updates; ++u)
    if (plan.newest_places[u] >= 0)
      table[plan.newest_places[u]] = slot.find(plan, spares, plan.targets[u]);
}

// After a step: the newest elements replace the oldest, whose blocks become spare.
inline void advance_elements(const Exchange& plan, const Elements& slot, void** spares) {
  static thread_local std::vector<void*> newest, free;
  newest.clear(), free.clear();
  for (int32_t u = 0; u < plan.updates; ++u)
    newest.push_back(slot.find(plan, spares, plan.targets[u]));
  for (int32_t s = 0; s < plan.spares; ++s)
    free.push_back(slot.find(plan, spares, plan.spares_after[s]));
  for (int32_t u = 0; u < plan.updates; ++u) {
    const int32_t oldest = slot.find_oldest(plan, u);
    slot.blocks[oldest] = newest[u];
    slot.heads[plan.updated[u]] = oldest - plan.firsts[u];
  }
  for (int32_t s = 0; s < plan.spares; ++s) spares[s] = free[s];
}
