/** What followed streams tell the application, and what they need of their connection. */

import type { SubscribeCommand } from '../wire/command.ts';
import type { BoundaryChange } from './boundaries.ts';
import type { Gone } from './catalogs.ts';
import type { Subscription } from './subscription.ts';

/** What the streams tell the application. */
export type StreamOutput =
  /** Something waits in the delivery, or the subscription became live or ceased to be. */
  | { readonly kind: 'ready'; readonly subscription: Subscription }
  /**
   * One more stream, followed through a pattern. It may have been followed before: then it was
   * deleted, and the items of the earlier subscription come first.
   */
  | { readonly kind: 'discovered'; readonly subscription: Subscription }
  | ({ readonly kind: 'gone' } & Gone)
  /** A catalog says how far it is. What it does not have may be void from now on. */
  | { readonly kind: 'listed' }
  /** It ended by itself. Its last item says so to the application, in order. */
  | { readonly kind: 'ended'; readonly subscription: Subscription }
  /** To be stored in a checkpoint. */
  | ({ readonly kind: 'boundary' } & BoundaryChange);

/** What the streams need of the connection that they are on. */
export interface Link {
  send(command: SubscribeCommand): void;
  /** Ends the connection, so that the next one can ask anew. */
  reconnect(why: string): void;
  /** Something of this cost waits for the application. */
  handleQueued(cost: number): void;
  /** Something of this cost does not wait any more. */
  handleGivenBack(cost: number): void;
  /** Whether every stream is live may have changed. */
  handleLiveChanged(): void;
  emit(output: StreamOutput): void;
}
