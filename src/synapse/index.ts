/** The public door of `rowcast/synapse`: what is Synapse's own about the protocol, on top of the generic parts. */
export { synapseLimits } from './profile.ts';
