/**
 * Has `send` send rows, and waits until each consumer, which already has `before` rows, has all of
 * them.
 * @returns the result of `send`, and `rate`: rows a second of all consumers together, from its
 * `startedAt`
 */
export async function deliver(consumers, { before, rows }, send) {
  const reached = consumers.map((consumer) => consumer.call('reach', before + rows));
  const sent = await send();
  const ends = await Promise.all(reached);
  return {
    ...sent,
    rate: (consumers.length * rows * 1_000) / (Math.max(...ends.map(({ at }) => at)) - sent.startedAt),
  };
}
