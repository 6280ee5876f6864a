/** What rules made of labels. */

export function showEventList() {
  return () => {};
}
