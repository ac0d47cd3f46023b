// Which pictures of a stack are wanted after the one that is looked at.

/** The next few on the way. */
export function onward(index, direction, count) {
  return Array.from({ length: count }, (_, step) => index + direction * (step + 1));
}

/** All around, the nearest first: two on the way for each one behind; at least `most` where the stack has as many. */
export function around(index, direction, length, most) {
  const order = [];
  for (let near = 1; order.length < most && near < length; near += 1) {
    order.push(index + direction * (2 * near - 1), index + direction * 2 * near, index - direction * near);
  }
  return order;
}
