// State in rings of buffers, as co3d/backends/native/rings.py describes them.
#pragma once

#include <cstdint>

// Fill in where the elements of all states lie. Ring by ring there are addresses, and as many places
// in the table: of the newest element, then of the past ones; -1 for those that nobody reads.
inline void bind_rings(void** table, const int32_t* places, void* const* addresses,
                       const int32_t* lengths, const int32_t* heads, long rings) {
  for (long i = 0; i < rings; ++i) {
    const int32_t length = lengths[i];
    for (int32_t age = 0, slot = heads[i]; age < length; ++age) {
      if (places[age] >= 0) table[places[age]] = addresses[slot];
      if (++slot == length) slot = 0;
    }
    places += length, addresses += length;
  }
}

// What was the newest element of some rings is past: the next one goes where the oldest lies.
inline void turn_rings(const int32_t* lengths, int32_t* heads, const int32_t* updated, long count) {
  for (long i = 0; i < count; ++i) {
    int32_t& head = heads[updated[i]];
    head = (head == 0 ? lengths[updated[i]] : head) - 1;
  }
}
