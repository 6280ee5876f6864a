// Elements of state in blocks of memory, as co3d/backends/native/exchange.py and state.py describe.
#pragma once

#include <cstdint>
#include <vector>

// What a step graph does with the blocks of any slot. Blocks are numbered: a worker's spare ones,
// then the oldest elements of the states that are updated.
struct Exchange {
  int32_t states, updates, spares;
  const int32_t* depths;         // of each state: how many elements
  const int32_t* places;         // of each element its place in the table, by age; -1: nobody reads it
  const int32_t* updated;        // of each update: the state,
  const int32_t* firsts;         //   the number of that state's first element,
  const int32_t* newest_places;  //   the place in the table of the newest element; -1: no kernel's,
  const int32_t* sources;        //   and the block that it is written to
  const int32_t* left;           // of each spare block: the block that takes its place
};

// The elements of a slot: addresses state by state, and which of its blocks is the newest, of each.
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

// Fill in where the elements of a slot lie.
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
      table[plan.newest_places[u]] = slot.find(plan, spares, plan.sources[u]);
}

// The step is over: the newest elements take the places of the oldest, whose blocks are free.
inline void advance_elements(const Exchange& plan, const Elements& slot, void** spares) {
  static thread_local std::vector<void*> newest, left;
  newest.clear(), left.clear();
  for (int32_t u = 0; u < plan.updates; ++u)
    newest.push_back(slot.find(plan, spares, plan.sources[u]));
  for (int32_t s = 0; s < plan.spares; ++s) left.push_back(slot.find(plan, spares, plan.left[s]));
  for (int32_t u = 0; u < plan.updates; ++u) {
    const int32_t oldest = slot.find_oldest(plan, u);
    slot.blocks[oldest] = newest[u];
    slot.heads[plan.updated[u]] = oldest - plan.firsts[u];
  }
  for (int32_t s = 0; s < plan.spares; ++s) spares[s] = left[s];
}
