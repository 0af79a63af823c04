/**
 * Lets `send` send so many rows, and waits until each consumer, which has got `before` already, has them all.
 * @returns what `send` returned, and `rate`: rows a second, all consumers together, since its `startedAt`
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
